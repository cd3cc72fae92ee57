"""`python -m tests.dashboards.pictures`: a minute of traffic, and docs/dashboard-*.png of it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.dashboards.asking import names
from tests.dashboards.minute import a_minute
from tests.dashboards.picture import draw_dashboard

DOCS = Path("docs")
SECONDS = 60.0

if __name__ == "__main__":
    sys.stderr.write(f"Traffic for {SECONDS:.0f} s …\n")
    with (
        tempfile.TemporaryDirectory() as folder,
        a_minute(Path(folder), SECONDS) as minute,
    ):
        for name in names():
            path = DOCS / f"dashboard-{name}.png"
            draw_dashboard(name, minute.prometheus, minute.window, path)
            sys.stderr.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")
