"""What every server of this process shares: the socket and its limits, TLS whose files change, the end of an answer."""
