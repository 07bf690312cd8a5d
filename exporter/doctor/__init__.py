"""Checks a cluster and an AWS account before and after installation.

One module a subject; each gives `Check`s, and what they have in common is in `check`. It uses the parts that the
running exporter is made of, so that what works here works there, and changes nothing anywhere.
"""
