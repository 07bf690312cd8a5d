"""What all servers of this process share: the socket and its limits, TLS whose files change, the end of a response."""
