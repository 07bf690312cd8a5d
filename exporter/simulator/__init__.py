"""A fleet of fake agents on real sockets, its load over time, and the demo."""
