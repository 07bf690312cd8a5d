"""Tells the outside world what the `Fleet`s are."""
