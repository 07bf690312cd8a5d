"""Reproducible measurements; `make bench` runs them. Nothing here is installed with the exporter."""
