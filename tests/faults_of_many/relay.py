"""A line between a bridge and a host that can lose and delay packets: two TAP devices.

It works where the kernel has no netem. Orders come as lines of `LOSS DELAY LOSS DELAY`: the share
lost and the seconds of delay, of what the host sends and of what it receives.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import struct
import sys

_SET_INTERFACE = 0x400454CA
_TAP, _NO_HEADER = 0x0002, 0x1000
_MOST_FRAMES = 64


class Direction:
    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        self.loss = self.delay_seconds = 0.0

    def pass_on(self) -> None:
        for _ in range(_MOST_FRAMES):
            try:
                frame = os.read(self._source, 65536)
            except BlockingIOError:
                return
            if random.random() < self.loss:
                continue
            if self.delay_seconds:
                asyncio.get_running_loop().call_later(self.delay_seconds, self._send, frame)
            else:
                self._send(frame)

    def _send(self, frame: bytes) -> None:
        try:
            os.write(self._target, frame)
        except OSError:  # the device is down, or its queue is full: a packet is lost
            return


async def relay(bridged: int, inside: int) -> None:
    directions = Direction(inside, bridged), Direction(bridged, inside)
    loop = asyncio.get_running_loop()
    loop.add_reader(inside, directions[0].pass_on)
    loop.add_reader(bridged, directions[1].pass_on)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while order := await loop.run_in_executor(None, sys.stdin.readline):
        numbers = [float(each) for each in order.split()]
        for at, direction in enumerate(directions):
            direction.loss, direction.delay_seconds = numbers[2 * at : 2 * at + 2]


def tap(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _SET_INTERFACE, struct.pack("16sH", name.encode(), _TAP | _NO_HEADER))
    return device


if __name__ == "__main__":
    asyncio.run(relay(tap(sys.argv[1]), tap(sys.argv[2])))
