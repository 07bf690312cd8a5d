"""Alerts and how they are made: Prometheus rules here, CloudWatch alarms beside them, a runbook page for each alert."""
