"""The Prometheus rules as Python values; `alerts.build` writes them as rule files."""
