"""Generators of the files that are kept in the repository, and what fetches programs for tests."""
