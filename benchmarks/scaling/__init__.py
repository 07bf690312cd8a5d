"""The Horizontal Pod Autoscaler, a fleet of agents and what each way of feeding the one tells it of the other.

A simulation in virtual time, seeded and without sockets. Kubernetes, the agents and the other products are models, each
after the document it names; the exporter is the real one: its store, its classification, its answers.
"""
