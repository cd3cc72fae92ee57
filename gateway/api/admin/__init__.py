"""`/admin/v1`: the organisation, its teams, keys and books, as JSON over HTTP.

`routes` is the table of what there is, `access` the table of who may do it, `door` the way in.
"""

from gateway.api.admin.endpoint import PREFIX, AdminApi
from gateway.api.admin.routes import PATHS

__all__ = ["PATHS", "PREFIX", "AdminApi"]
