"""Results on the local disk (`disk:PATH`): diskcache's one home.

`store` is the store itself; `access` runs its calls in threads (`lane`); `index` and `files`
are the rows and the bodies, `opening` makes them; `reading` decides whether an entry may be
served; `upkeep` keeps the bounds.
"""

from gateway.cache.disk.store import DiskStore

__all__ = ["DiskStore"]
