"""Makes one thumbnail, in a process of its own: a picture comes on stdin, a WebP goes to stdout.

It is run as a script, without the gateway's environment. A picture is hostile until it is decoded:
memory, time and pixels have limits, and only the decoders of three formats are there.
"""

from __future__ import annotations

import os
import resource
import sys

MOST_MEMORY_BYTES = 768 << 20
MOST_SECONDS = 5
MOST_PIXELS = 40_000_000
SIDE = 480
FORMATS = ("PNG", "JPEG", "WEBP")


def main() -> int:
    """Gives the exit status: 0 where a thumbnail was written."""
    os.nice(10)
    from PIL import Image

    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with Image.open(sys.stdin.buffer, formats=FORMATS) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            return 3
        picture.draft("RGB", (2 * SIDE, 2 * SIDE))
        picture.thumbnail((SIDE, SIDE))
        mode = "RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB"
        picture.convert(mode).save(sys.stdout.buffer, "WEBP", quality=78, method=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
