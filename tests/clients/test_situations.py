"""Every row of the table of refusals that a client can meet, met by both official libraries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatorServer
from gateway.model.errors import KINDS, Retry
from tests.clients import python_client
from tests.clients.environments import node_with_libraries
from tests.clients.refusals import ODD, OWN, UPSTREAM, Odd, Refused, check, odd_command_of
from tests.clients.scripts import Script
from tests.clients.situations import SITUATIONS, Situation
from tests.support.serving import KEY, Served

BY_TESTS_OF_THEIR_OWN = {
    "body_too_large": "test_python_odd_refusals.py and test_node.py: while it is uploaded",
    "sandbox_unavailable": "test_sandbox.py: its emulator is taken away",
}
NOT_BY_NODE = {
    "upload_timeout": "it has a file whole before it sends any of it; test_python_limits.py stalls",
    "bad_request": "its fetch sends no such head; test_smuggling.py does",
}
NOT_BY_PYTHON = {"bad_request": NOT_BY_NODE["bad_request"]}
BY_PYTHON_ALONE = {"upload_timeout": "test_python_limits.py"}
NOT_FOR_CLIENTS = {
    "permission_denied": "of /admin/v1 and /metrics, which no library of images asks",
    "conflict": "of /admin/v1",
    "results_unavailable": "of /admin/v1/cache",
    "picture_gone": "of links to pictures",
    "answer_gone": "of asynchronous requests, which no library makes",
    "request_lost": "of asynchronous requests, which no library makes",
    "precondition_failed": "of links to pictures",
    "range_not_satisfiable": "of links to pictures",
    "internal_error": "only by a fault of ours that is not known",
}
CASES: tuple[Refused, ...] = (*OWN, *ODD, *UPSTREAM, *SITUATIONS)
PARAMETERS = [pytest.param(case, id=case.name) for case in ODD]
CIRCUMSTANCES = [pytest.param(case, id=case.name) for case in SITUATIONS]
WAITS = ("budget_held", "upstream_unreachable")
"""Where a library tries again after five seconds: Python's shows it in each run."""
FOR_NODE = [
    pytest.param(case, id=case.name, marks=pytest.mark.long if case.code in WAITS else ())
    for case in SITUATIONS
]


@pytest.fixture(scope="module")
def node(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    program, folder = node_with_libraries()
    log = tmp_path_factory.mktemp("node") / "log"
    with Script([str(program), str(folder / "client.mjs")], pictures, log) as script:
        yield script


def codes() -> set[str]:
    """What the cases provoke that both libraries go through."""
    return {case.code for case in CASES}


def test_no_row_of_the_table_is_left_out() -> None:
    """A new refusal needs a case here, or a reason why no client meets it."""
    shared = codes() | BY_TESTS_OF_THEIR_OWN.keys() | NOT_FOR_CLIENTS.keys()
    by_python = shared | BY_PYTHON_ALONE.keys() | NOT_BY_PYTHON.keys()
    assert KINDS.keys() - by_python == set()
    assert KINDS.keys() - (shared | NOT_BY_NODE.keys()) == set()


def test_no_reason_is_given_for_what_is_not_left_out() -> None:
    reasons = [*BY_TESTS_OF_THEIR_OWN, *NOT_BY_NODE, *BY_PYTHON_ALONE, *NOT_FOR_CLIENTS]
    assert codes() & set(reasons) == set()
    assert set(reasons) <= KINDS.keys()


def test_the_cases_say_of_retries_what_the_table_says() -> None:
    for case in CASES:
        kind = KINDS.get(case.code)  # else a code of the upstream's own
        if kind and kind.retry is not Retry.AS_IT_SAYS:
            assert case.may_retry == (kind.retry is Retry.YES), case.name


@pytest.mark.parametrize("case", PARAMETERS)
def test_python_is_told_what_is_odd(
    refusing: Served, emulator: EmulatorServer, pictures: Path, case: Odd
) -> None:
    usual = {"base_url": refusing.base_url, "api_key": KEY, "folder": str(pictures)}
    seen = python_client.carried_out(usual | odd_command_of(case))
    check(case, seen, emulator, "APIStatusError")


@pytest.mark.parametrize("case", PARAMETERS)
def test_node_is_told_what_is_odd(
    node: Script, refusing: Served, emulator: EmulatorServer, case: Odd
) -> None:
    command = odd_command_of(case)
    check(case, node.ask(refusing, command.pop("do"), **command), emulator, "APIError")


def edit_of(case: Situation) -> dict[str, Any]:
    """An edit, so asked for as it suits the situation."""
    return {
        "images": [{"file": "photo.jpg", "as": "handle"}],
        "fields": {"model": "deepshi-image-1", "prompt": f"make it grey: {case.name}"},
        "max_retries": case.tries - 1 if case.may_retry else 2,
        **case.command,
    }


def check_situation(
    case: Situation, seen: dict[str, Any], emulator: EmulatorServer, plain: str
) -> None:
    check(case, seen, emulator, plain)
    assert seen["retry_counts"] == ["0", "1"][: case.tries]


@pytest.mark.parametrize("case", CIRCUMSTANCES)
def test_python_is_told_of_the_situation(
    tmp_path: Path, emulator: EmulatorServer, pictures: Path, case: Situation
) -> None:
    with case.make(tmp_path, emulator) as gateway:
        usual = {"base_url": gateway.base_url, "api_key": KEY, "folder": str(pictures)}
        seen = python_client.carried_out({**usual, "do": "edit", **edit_of(case)})
        check_situation(case, seen, emulator, "APIStatusError")


@pytest.mark.parametrize("case", FOR_NODE)
def test_node_is_told_of_the_situation(
    node: Script, tmp_path: Path, emulator: EmulatorServer, case: Situation
) -> None:
    with case.make(tmp_path, emulator) as gateway:
        seen = node.ask(gateway, "edit", **edit_of(case))
        check_situation(case, seen, emulator, "APIError")
