"""Carries out commands with whatever openai-python is installed: one JSON line in, one out.

Run by the interpreter of an environment that holds an older line of the library, so it imports
nothing else of ours. `scripts.py` is the other end.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import openai


class Count:
    """How many requests the library made, and which of them it called a retry."""

    def __init__(self) -> None:
        self.retry_counts: list[str] = []

    def __call__(self, request: Any) -> None:
        self.retry_counts.append(request.headers.get("x-stainless-retry-count", ""))


def carried_out(command: dict[str, Any]) -> dict[str, Any]:
    count = Count()
    # All goes over plain HTTP here, and to load certificates takes longer than an edit.
    http_client = openai.DefaultHttpxClient(event_hooks={"request": [count]}, verify=False)
    seen: dict[str, Any]
    with openai.OpenAI(
        base_url=command["base_url"],
        api_key=command["api_key"],
        max_retries=command.get("max_retries", 2),
        timeout=command.get("timeout_seconds", 30),
        http_client=http_client,
    ) as client:
        try:
            seen = DOES[command["do"]](client, command)
        except openai.APIError as error:
            seen = {"error": seen_of(error)}
    return {**seen, "tries": len(count.retry_counts), "retry_counts": count.retry_counts}


def edit(client: openai.OpenAI, command: dict[str, Any]) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        files = [file_of(command, each, stack) for each in command["images"]]
        given: dict[str, Any] = {"image": files[0] if command.get("alone") else files}
        if command.get("mask"):
            given["mask"] = file_of(command, command["mask"], stack)
        given |= command["fields"]
        given |= {"extra_body": command.get("extra"), "extra_headers": command.get("headers")}
        if given.get("stream"):
            return heard(client.images.edit(**given))
        answer = client.images.with_raw_response.edit(**given)
    parsed: Any = answer.parse()
    return {
        "answer": json.loads(parsed.to_json()),
        "headers": dict(answer.headers),
        "request_id": parsed._request_id,
    }


def heard(stream: Any) -> dict[str, Any]:
    """The events of a stream, and the error that it ended in, if it did."""
    events: list[Any] = []
    try:
        events.extend(json.loads(event.to_json()) for event in stream)
    except openai.APIError as error:
        return {"events": events, "error": seen_of(error)}
    return {"events": events, "headers": dict(stream.response.headers)}


def file_of(command: dict[str, Any], asked: dict[str, str], stack: contextlib.ExitStack) -> Any:
    path = Path(command["folder"], asked["file"])
    way = asked["as"]
    if way == "handle":
        return stack.enter_context(path.open("rb"))
    if way == "bytes":
        return path.read_bytes()
    if way == "tuple":
        return path.name, path.read_bytes(), "image/png"
    return path


def generate(client: openai.OpenAI, command: dict[str, Any]) -> dict[str, Any]:
    return {"answer": json.loads(client.images.generate(**command["fields"]).to_json())}


def request(client: openai.OpenAI, command: dict[str, Any]) -> dict[str, Any]:
    """Any request, for what the library has no method for; a body of text as it is."""
    body, given = command.get("body"), {}
    if isinstance(body, str):
        given["content"] = body.encode()
    elif body is not None:
        given["body"] = body
    make = getattr(client, command["method"])
    options = {"headers": command["headers"]}
    return {"answer": make(command["path"], cast_to=object, options=options, **given)}


def models(client: openai.OpenAI, command: dict[str, Any]) -> dict[str, Any]:
    listed = [json.loads(model.to_json()) for model in client.models.list()]
    return {"answer": listed, "one": json.loads(client.models.retrieve(listed[0]["id"]).to_json())}


def seen_of(error: openai.APIError) -> dict[str, Any]:
    return {
        "class": type(error).__name__,
        "message": str(error),
        "code": error.code,
        "param": error.param,
        "type": error.type,
        "body": error.body,
        "status": getattr(error, "status_code", None),
        "request_id": getattr(error, "request_id", None),
    }


DOES = {"edit": edit, "generate": generate, "models": models, "request": request}

if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(carried_out(json.loads(line))) + "\n")
        sys.stdout.flush()
