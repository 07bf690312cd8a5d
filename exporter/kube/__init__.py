"""Shared by all users of the Kubernetes API: the connection, and list + watch."""
