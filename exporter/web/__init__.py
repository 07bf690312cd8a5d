"""The HTTP server: metrics, JSON, health."""
