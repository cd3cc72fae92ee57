from __future__ import annotations

import pytest

from tests.emulator.calling import pictures_in
from tests.emulator.wires.calling import form, playing

PATH = "/openai/deployments/{}/images/edits"
VERSION = {"api-version": "2025-04-01-preview"}
FIELDS = {"quality": "low", "size": "1024x1024", "output_format": "jpeg"}


def test_a_deployment_edits_whatever_the_field_model_says() -> None:
    with playing("azure") as (server, http):
        headers = {"api-key": server.api_key}
        path = PATH.format("img-prod")
        given = form(model="anything", **FIELDS)
        answer = http.post(path, params=VERSION, headers=headers, **given)
        assert pictures_in(answer)
        assert server.statement()[0]["model"] == "img-prod"
        assert server.stats()["billed_nanos"] == 3 * 5_000 + 194 * 10_000 + 272 * 40_000


@pytest.mark.parametrize(
    ("deployment", "query", "key", "status", "code"),
    [
        ("img-prod", VERSION, "wrong", 401, "401"),
        ("img-prod", {}, "sk-emulator", 404, "404"),
        ("nobody-made-it", VERSION, "sk-emulator", 404, "DeploymentNotFound"),
    ],
)
def test_refusals_have_code_and_message_alone(
    deployment: str, query: dict[str, str], key: str, status: int, code: str
) -> None:
    with playing("azure") as (_, http):
        headers = {"api-key": key}
        path = PATH.format(deployment)
        answer = http.post(path, params=query, headers=headers, **form(**FIELDS))
    assert answer.status_code == status
    assert answer.json()["error"].keys() == {"code", "message"}
    assert answer.json()["error"]["code"] == code
