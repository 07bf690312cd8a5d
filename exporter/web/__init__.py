"""The HTTP server: metrics, JSON, status page, health."""
