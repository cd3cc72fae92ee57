"""Results on the local disk (`disk:PATH`).

`store` is the store itself. `index` holds the rows and `body_files` the bodies; `index_access` runs
work on them in threads. `entry_reader` decides whether an entry may be served, `eviction` which
entries make room, `maintenance` does the rest in the background.
"""

from gateway.cache.disk.store import DiskStore

__all__ = ["DiskStore"]
