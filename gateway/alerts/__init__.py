"""Alerts of budgets and of upstreams: sent once each, off the path of requests."""
