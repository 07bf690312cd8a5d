"""matillion-fleet-exporter: how much work a fleet of Matillion agents can take, has, and how far to trust that."""

__version__ = "0.1.0"
