"""Prometheus alerts and CloudWatch alarms from one set of thresholds, and a runbook for each alert."""
