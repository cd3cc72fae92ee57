"""An S3 server that can be told to fail: `python -m tests.faults_of_many.bucket ADDRESS PORT FILE`.

The file says how: empty, `gone` (no such bucket), `slow` (each answer after 5 seconds) or `full`
(503 Slow Down).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

SLOW_SECONDS = 5.0
_REFUSALS = {
    "gone": ("404 Not Found", "NoSuchBucket"),
    "full": ("503 Slow Down", "SlowDown"),
}


def main(address: str, port: str, orders: str) -> None:
    s3 = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        order = Path(orders).read_text()
        if order == "slow":
            time.sleep(SLOW_SECONDS)
        elif order:
            status, code = _REFUSALS[order]
            start(status, [("Content-Type", "application/xml")])
            return [f"<Error><Code>{code}</Code><Message>as ordered</Message></Error>".encode()]
        found: Iterable[bytes] = s3(environ, start)
        return found

    run_simple(address, int(port), application, threaded=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
