"""`/openapi.json`: what is served, described from the tables that serve it."""

from gateway.api.openapi.document import document

__all__ = ["document"]
