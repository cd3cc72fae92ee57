"""Results on the local disk (`disk:PATH`): diskcache's one home.

`store` is the store itself; `access` runs its calls in threads; `index` and `files` are the
rows and the bodies; `reading` decides whether an entry may be served; `upkeep` keeps bounds.
"""

from gateway.edges.disk.store import DiskResults

__all__ = ["DiskResults"]
