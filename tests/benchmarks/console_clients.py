"""Two clients as processes: one that edits at a steady pace, and people who click in the console.

`python -m tests.benchmarks.console_clients edit|click`; what to do is a line of JSON on stdin, and
the seconds that each request took go to stdout.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
import time

import httpx

from tests.benchmarks.load import length_of
from tests.console.visiting import COOKIE
from tests.support.bodies import file, form, form_type, text
from tests.support.serving import KEY, PHOTOGRAPH

BOUNDARY = "3f9c1b2a7e5d4c60"
EDITS_A_SECOND = 100
PAGES = (
    "/console",
    "/console/spend",
    "/console/spend?by=model",
    "/console/spend?by=key",
    "/console/spend?by=day",
    "/console/teams",
    "/console/pictures",
    "/console/requests",
)


def edit(host: str, port: int, seconds: float) -> list[float]:
    """The same edit over and over, which is a hit, each at its time whatever the last one took."""
    body = form(
        [text("model", "deepshi-image-1"), text("prompt", "grey"), file("image[]", PHOTOGRAPH)],
        BOUNDARY,
    )
    head = (
        f"POST /v1/images/edits HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: {form_type(BOUNDARY)}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    message, pause = head.encode() + body, random.Random(1)
    took: list[float] = []
    with socket.create_connection((host, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        due = time.perf_counter()
        until = due + seconds
        while due < until:
            time.sleep(max(0.0, due - time.perf_counter()))
            began = time.perf_counter()
            connection.sendall(message)
            answered(connection)
            took.append(time.perf_counter() - began)
            due = max(due, began) + pause.uniform(0.5, 1.5) / EDITS_A_SECOND
    return took


def answered(connection: socket.socket) -> None:
    """Read a whole answer, which must be a hit."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(1 << 20)
    head, _, body = got.partition(b"\r\n\r\n")
    if b"x-gateway-cache: hit" not in head.lower():
        raise RuntimeError(head.decode())
    missing = length_of(head) - len(body)
    while missing:
        missing -= len(connection.recv(1 << 20))


def click(url: str, cookie: str, seconds: float, people: int) -> list[float]:
    """Each of the people looks at a page about every second."""
    took: list[float] = []

    def person(number: int) -> None:
        choice = random.Random(number)
        until = time.perf_counter() + seconds
        with httpx.Client(base_url=url, cookies={COOKIE: cookie}, trust_env=False) as browser:
            time.sleep(choice.random())
            while time.perf_counter() < until:
                began = time.perf_counter()
                browser.get(choice.choice(PAGES)).raise_for_status()
                took.append(time.perf_counter() - began)
                time.sleep(choice.uniform(0.8, 1.2))

    threads = [threading.Thread(target=person, args=[number]) for number in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


if __name__ == "__main__":
    told = json.loads(sys.stdin.readline())
    found = edit(**told) if sys.argv[1] == "edit" else click(**told)
    sys.stdout.write(json.dumps(found))
