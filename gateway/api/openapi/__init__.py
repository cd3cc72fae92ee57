"""`/openapi.json`, described from the tables and models that serve it."""
