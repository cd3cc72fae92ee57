"""Results in an object store, with the local disk in front: obstore's one home.

`s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`. An object is one entry:
its head, then its body, put whole. What lies in the bucket past its time is a miss; a
lifecycle rule of the bucket removes it. `opening` reads the URL, `objects` calls the bucket.
"""

from gateway.cache.object_store.opening import open_bucket
from gateway.cache.object_store.store import BucketStore

__all__ = ["BucketStore", "open_bucket"]
