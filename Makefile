# Each target installs what it needs into .venv; only python3 with venv, and make, are assumed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Compiled modules are kept: the tests start the gateway some hundred times.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-long check docs dashboards pictures bench lock release clean

# The gateway, or the demo while DEEPSHI_API_KEY is unset.
run: $(VENV)/.run
	@if [ -z "$$DEEPSHI_API_KEY" ]; then exec $(BIN)/gateway demo --with-history; else exec $(BIN)/gateway serve; fi

# More processes than two cores: half of the time, tests wait for one another.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# Write Grafana's dashboards from deploy/grafana/*.py.
dashboards: $(VENV)/.test
	$(BIN)/python -m deploy.grafana

# Draw docs/dashboard-*.png from a minute of traffic under a real Prometheus, docs/commands-*.svg and docs/console-*.png.
pictures: $(VENV)/.test
	$(BIN)/python -m tests.dashboards.pictures
	$(BIN)/python -m tests.cli.pictures
	$(BIN)/python -m tests.console.pictures

# Write the documents that are made from code: metrics, settings, faults, the packages' picture.
docs: $(VENV)/.test
	$(BIN)/python -m tests.support.documents

test-long: $(VENV)/.test
	$(BIN)/python -m pytest -m long -v --durations=0

# Compare the gateway with wrk against nginx + Lua and LiteLLM, if installed: some ten minutes.
# Writes tests/benchmarks/results/ and docs/speed.md.
bench: $(VENV)/.test
	$(BIN)/python -m tests.benchmarks

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The newest pip takes half as long to find versions as the one of Python 3.11.
$(VENV)/.python:
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "python3 has no working venv module here; on Debian: apt-get install python3-venv"; \
	  rm -rf $(VENV); exit 1; }
	@$(PIP) install --no-compile --upgrade pip
	@touch $@

# Compiled are only the modules that are used, on their first use.
$(VENV)/.run: $(VENV)/.python pyproject.toml
	@echo "Installing (once, about half a minute) …"
	@$(BIN)/python -m pip --disable-pip-version-check install --no-compile --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml
	@echo "Installing, with test dependencies (once, about a minute) …"
	@$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.run

# Lock what the image installs, for every platform and Python, with hashes. `make lock` keeps the
# locked versions that pyproject.toml allows; `make lock UPGRADE=1` takes the newest.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make lock' \
	$(if $(UPGRADE),--upgrade)

lock: $(VENV)/.python
	@$(PIP) install 'uv>=0.9'
	$(LOCK) --output-file deploy/requirements.lock pyproject.toml \
	  $$($(BIN)/python deploy/lock.py extras)
	$(BIN)/python deploy/lock.py build | $(LOCK) --output-file deploy/build.lock -

# Wheel, sdist and SBOM of the version in pyproject.toml into dist/, and the image where there is buildah,
# podman or docker; checks the locks, and audits them where a database can be reached.
release: $(VENV)/.python
	@$(PIP) install --editable '.[release]'
	$(BIN)/python deploy/release.py

clean:
	rm -rf $(VENV) .venv-clients .venv-bench var build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
