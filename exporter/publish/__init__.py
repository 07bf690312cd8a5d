"""Publishes the `Fleet`s."""
