"""Polls each `Target` and puts what it reads in the store."""
