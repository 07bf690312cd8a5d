"""Polls each `Target` and keeps the latest `AgentSnapshot` of each."""
