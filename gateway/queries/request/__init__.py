"""What became of a request, by our id: what `GET /v1/requests/{id}` answers."""

from gateway.queries.request.request_status import RequestStatus

__all__ = ["RequestStatus"]
