"""Where the simulated HPA comes from."""

from benchmarks.scaling.hpa import FAST, SYNC_SECONDS, Autoscaler, external

__all__ = ["FAST", "SYNC_SECONDS", "Autoscaler", "external"]
