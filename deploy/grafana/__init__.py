"""The two Grafana dashboards as typed code; `python -m deploy.grafana` writes them as JSON."""
