"""Whether a forecast of a fleet's demand helps, in generated months: `python -m benchmarks.forecast`."""
