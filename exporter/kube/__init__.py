"""What every user of the Kubernetes API shares: the connection, and list + watch."""
