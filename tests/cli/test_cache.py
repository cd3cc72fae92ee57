"""`gateway cache`: on the state and the results of a gateway that really serves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from blake3 import blake3
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.support.buckets import make_bucket, s3_server, url_of
from tests.support.serving import PHOTOGRAPH, Running, make_key, serving, settings_for
from tests.support.upstreams import png

Run = Callable[..., Result]
OTHER_KEY = "sk-test-of-the-other-team"


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`gateway cache ARGUMENTS` on what the test's gateway keeps."""
    monkeypatch.setenv("GATEWAY_STATE__URL", settings.state.url)
    monkeypatch.setenv("GATEWAY_CACHE__URL", settings.cache.url)

    def invoke(*arguments: str | Path, answer: str = "") -> Result:
        return CliRunner().invoke(main, ["cache", *map(str, arguments)], input=answer)

    return invoke


@pytest.fixture
def other_team(settings: Settings) -> str:
    """A key of another team, made before the gateway starts."""
    make_key(settings, team="sales", secret=OTHER_KEY, name="second")
    return OTHER_KEY


def loaded(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def word(gateway: Running, prompt: str, **more: Any) -> str:
    answer = gateway.edit(prompt, **more)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-gateway-cache"]


def fingerprint(gateway: Running, prompt: str) -> str:
    return gateway.edit(prompt).headers["cache-status"].partition('key="')[2].partition('"')[0]


# --- purge ----------------------------------------------------------------------------


def test_a_purged_result_is_a_miss_the_next_time_and_another_teams_stays(
    other_team: str, gateway: Running, run: Run
) -> None:
    assert word(gateway, "grey") == "MISS"
    assert word(gateway, "grey", key=other_team) == "MISS"
    purged = run("purge", "--team", "design", "--yes")

    assert purged.exit_code == 0, purged.output
    assert purged.stdout == "1 entries purged.\n"
    assert word(gateway, "grey", key=other_team) == "HIT"
    assert word(gateway, "grey") == "MISS"


def test_one_result_is_purged_by_the_fingerprint_that_its_answer_named(
    gateway: Running, run: Run
) -> None:
    one = fingerprint(gateway, "one")
    word(gateway, "two")

    assert loaded(run("purge", "--fingerprint", one, "--yes", "--json"))["purged"] == 1
    assert word(gateway, "two") == "HIT"
    assert word(gateway, "one") == "MISS"


def test_every_result_of_a_picture_is_found_also_where_it_was_the_second_reference(
    gateway: Running, run: Run, tmp_path: Path
) -> None:
    face, other = png(8, 8, noise=True), png(4, 4)
    file = tmp_path / "face.png"
    file.write_bytes(face)
    word(gateway, "alone", images=[face])
    word(gateway, "second", images=[PHOTOGRAPH, face])
    word(gateway, "without", images=[PHOTOGRAPH, other])

    shown = loaded(run("purge", "--containing", file, "--dry-run", "--json"))
    assert shown["selection"] == {"containing": blake3(face).hexdigest()}
    assert shown["entries"] == 2
    assert loaded(run("purge", "--containing", file, "--yes", "--json"))["purged"] == 2
    assert word(gateway, "without", images=[PHOTOGRAPH, other]) == "HIT"
    assert word(gateway, "second", images=[PHOTOGRAPH, face]) == "MISS"
    assert word(gateway, "alone", images=[face]) == "MISS"


def test_filters_narrow_together(other_team: str, gateway: Running, run: Run) -> None:
    word(gateway, "grey")
    word(gateway, "grey", model="deepshi-multi-1")
    word(gateway, "grey", key=other_team)

    def count(*filters: str) -> int:
        found: int = loaded(run("purge", *filters, "--dry-run", "--json"))["entries"]
        return found

    assert count("--all") == 3
    assert count("--model", "deepshi-image-1") == 2
    assert count("--model", "deepshi-image-1", "--team", "sales") == 1
    assert count("--model", "deepshi-multi-1", "--team", "sales") == 0
    assert count("--key", "sales/second") == 1
    assert count("--older-than", "0") == 3
    assert count("--older-than", "1h") == 0
    assert count("--team", "") == 0, "nothing named is not everything"


def test_a_dry_run_lists_what_would_go_and_leaves_it(gateway: Running, run: Run) -> None:
    word(gateway, "grey")
    shown = run("purge", "--all", "--dry-run")
    [entry] = loaded(run("purge", "--all", "--dry-run", "--json"))["first"]

    assert shown.stdout.startswith("1 entries with ")
    assert entry["fingerprint"] in shown.stdout
    assert (entry["team"], entry["model"]) == ("design", "deepshi-image-1")
    assert (entry["reference_images"], entry["cost_usd"]) == (1, "0.01")
    assert word(gateway, "grey") == "HIT"
    assert audited(run) == []


def audited(run: Run) -> list[Any]:
    found = CliRunner().invoke(main, ["audit", "--json"])
    rows: list[Any] = loaded(found)
    return [row for row in rows if row["action"].startswith("cache.")]


@pytest.mark.parametrize(("answer", "left"), [("n\n", "HIT"), ("", "HIT"), ("y\n", "MISS")])
def test_a_purge_asks_before_it_deletes(gateway: Running, run: Run, answer: str, left: str) -> None:
    word(gateway, "grey")
    done = run("purge", "--all", answer=answer)

    assert "1 entries" in done.output
    assert (done.exit_code == 0) is (left == "MISS")
    assert word(gateway, "grey") == left


def test_a_purge_is_in_the_audit_with_what_was_selected_and_why(gateway: Running, run: Run) -> None:
    word(gateway, "grey")
    run("purge", "--team", "design", "--yes", "--reason", "the licence ended")
    [row] = audited(run)

    assert row["action"] == "cache.purge"
    assert row["actor"].startswith("cli:")
    assert row["reason"] == "the licence ended"
    assert (row["new"]["team"], row["new"]["entries"]) == ("design", 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--all"),
        (("--older-than", "a while"), "30d"),
        (("--key", "design/nothing"), "nothing"),
        (("--containing", "no such file"), "no such file"),
    ],
)
def test_what_can_not_be_purged_is_said_and_nothing_goes(
    gateway: Running, run: Run, arguments: tuple[str, ...], said: str
) -> None:
    word(gateway, "grey")
    refused = run("purge", *arguments, "--yes")

    assert refused.exit_code != 0
    assert said in refused.output
    assert "Traceback" not in refused.output
    assert word(gateway, "grey") == "HIT"


# --- stats ----------------------------------------------------------------------------


def test_stats_say_what_is_stored_and_what_it_was_worth(settings: Settings, run: Run) -> None:
    with serving(settings) as gateway:
        grey = fingerprint(gateway, "grey")
        word(gateway, "blue")
        assert [word(gateway, "grey") for _ in range(3)] == ["HIT"] * 3
    facts = loaded(run("stats", "--json"))
    said = run("stats").stdout

    assert facts["entries"] == 2
    assert 0 < facts["bytes"] < facts["max_bytes"]
    assert (facts["answered"], facts["hits"], facts["hit_share"]) == (5, 3, 0.6)
    assert facts["saved_usd"] == "0.03"
    assert facts["top_by_use"] == [
        {"fingerprint": grey, "model": "deepshi-image-1", "uses": 3, "saved_usd": "0.03"}
    ]
    assert facts["oldest_at"] is not None
    assert f"{settings.cache.url}: 2 entries" in said
    assert "60.0%" in said
    assert "$0.03 saved" in said
    assert grey in said


def test_stats_of_nothing_are_zeros(run: Run) -> None:
    facts = loaded(run("stats", "--json"))

    assert (facts["entries"], facts["hits"], facts["saved_usd"]) == (0, 0, "0")
    assert "0 entries" in run("stats").stdout


# --- verify ---------------------------------------------------------------------------


def test_damaged_results_are_found_deleted_and_told_by_the_exit_status(
    gateway: Running, run: Run, tmp_path: Path
) -> None:
    for prompt in ("one", "two", "three"):
        word(gateway, prompt)
    sound = run("verify")
    damaged = next((tmp_path / "cache").glob("??/*.val"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    found = run("verify", "--json")
    again = run("verify")

    assert (sound.exit_code, sound.stdout) == (0, "3 checked, none is damaged.\n")
    assert (found.exit_code, json.loads(found.stdout)) == (1, {"checked": 3, "damaged": 1})
    assert (again.exit_code, again.stdout) == (0, "2 checked, none is damaged.\n")


@pytest.mark.parametrize(("folder", "said"), [("file/cache", "File exists"), ("$HOME/cache", "$")])
def test_results_that_can_not_be_read_are_one_clear_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, said: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GATEWAY_CACHE__URL", f"disk:{tmp_path / folder}")
    for command in (("stats",), ("purge", "--all", "--yes"), ("verify",)):
        refused = run(*command)

        assert refused.exit_code == 1
        [line] = [line for line in refused.output.splitlines() if not line.startswith("State: ")]
        assert "result store" in line
        assert said in line


# --- a bucket -------------------------------------------------------------------------


def test_the_same_commands_keep_house_in_a_bucket(
    tmp_path: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as server:
        cache = {
            "url": url_of(server, make_bucket(server)), "local_folder": str(tmp_path / "here"),
            "timeout_seconds": 10,
        }  # fmt: skip
        settings = settings_for(tmp_path, emulator, {"cache": cache})
        make_key(settings)
        there = {"cache": cache | {"local_folder": str(tmp_path / "there")}}
        monkeypatch.setenv("GATEWAY_STATE__URL", settings.state.url)
        for name in ("url", "local_folder"):
            monkeypatch.setenv(f"GATEWAY_CACHE__{name.upper()}", str(cache[name]))

        def run(*arguments: str) -> Any:
            return loaded(CliRunner().invoke(main, ["cache", *arguments, "--json"]))

        with serving(settings) as first:
            assert word(first, "grey") == "MISS"
        with serving(settings_for(tmp_path, emulator, there)) as second:
            assert word(second, "grey") == "HIT", "from the bucket, on another machine's disk"
        assert run("stats")["entries"] == 1
        assert run("stats")["max_bytes"] is None
        assert run("verify") == {"checked": 2, "damaged": 0}, "the bucket and this disk"
        assert run("purge", "--all", "--yes")["purged"] == 1
        with serving(settings) as first:
            assert word(first, "grey") == "MISS"


def test_check_tries_the_bucket_and_leaves_nothing_in_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_STATE__URL", settings.state.url)
    monkeypatch.setenv("GATEWAY_CACHE__LOCAL_FOLDER", str(tmp_path / "cache"))

    def check(url: str) -> str:
        monkeypatch.setenv("GATEWAY_CACHE__URL", url)
        said = CliRunner().invoke(main, ["check"]).output.splitlines()
        return "\n".join(line for line in said if line.startswith("results"))

    with s3_server() as server:
        bucket = make_bucket(server)
        good, missing = check(url_of(server, bucket)), check(url_of(server, "none"))
        left = httpx.get(f"{server}/{bucket}?list-type=2").text
    down = check(url_of(server, bucket))

    assert "can be read" in good
    assert "FAULT" not in good
    assert "<Key>" not in left
    assert not (tmp_path / "cache").exists()
    for fault in (missing, down):
        assert "FAULT" in fault
        assert "unreachable" in fault or "timeout" in fault


def test_a_bucket_without_its_extra_names_the_extra(tmp_path: Path) -> None:
    program = "import sys; sys.modules['obstore'] = None; from gateway.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--port", "0"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={"GATEWAY_CACHE__URL": "s3://pictures", "GATEWAY_STATE__URL": "sqlite:x.db"},
    )  # fmt: skip

    assert done.returncode == 1
    assert "image-edit-gateway[objectstore]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://pictures?colour=red", "colour"),
        ("s3://pictures?aws_secret_access_key=x", "environment"),
        ("s3:pictures", "s3://"),
    ],
)
def test_a_results_url_that_can_not_be_is_one_clear_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("GATEWAY_CACHE__URL", url)
    refused = run("stats")

    assert refused.exit_code == 1
    assert "[cache] url" in refused.output
    assert said in refused.output
