"""Results in an object store, with the local disk in front: the one home of obstore.

`s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`. An object is one entry: its
head, then its body, put whole. An expired object is a miss; a lifecycle rule of the bucket removes
it. `opening` reads the URL, `bucket` calls the bucket.
"""

from gateway.cache.object_store.opening import open_bucket
from gateway.cache.object_store.store import BucketStore

__all__ = ["BucketStore", "open_bucket"]
