"""The way to AWS: a client with deadlines, what its failures mean, and signed requests to other APIs.

Importing its modules takes half a second for the AWS libraries: import them only where AWS is used.
"""
