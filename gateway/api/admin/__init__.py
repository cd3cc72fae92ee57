"""`/admin/v1`: the organisation, its teams, keys, ledger and cache, as JSON over HTTP.

`routes` is the table of routes, `inputs` what they take, `calls` runs one, `endpoint` handles a
request.
"""

from gateway.api.admin.calls import AdminCalls
from gateway.api.admin.endpoint import PREFIX, AdminApi
from gateway.api.admin.routes import PATHS

__all__ = ["PATHS", "PREFIX", "AdminApi", "AdminCalls"]
