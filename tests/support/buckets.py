"""A bucket that speaks S3 over HTTP, for tests."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import httpx
import pytest


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """The address of an S3 server, with credentials for it in the environment."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # long to import

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        set_credentials(environment)
        yield f"http://{host}:{port}"
    server.stop()


def set_credentials(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", "testing")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def make_bucket(server: str) -> str:
    """A new bucket; its name."""
    name = f"results-{uuid.uuid4().hex}"
    httpx.put(f"{server}/{name}", timeout=60).raise_for_status()  # the first one imports moto
    return name


def url_of(server: str, bucket: str) -> str:
    """A store's URL, in a folder of a bucket."""
    return f"s3://{bucket}/edits?endpoint={server}&allow_http=true&region=us-east-1"
