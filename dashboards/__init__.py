"""Grafana dashboards as Python, and the JSON that is made of them (`python -m dashboards.build`)."""
