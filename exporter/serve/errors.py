"""The one exception a server raises for a person to read."""


class ServeError(Exception):
    """A server cannot start as it is configured. The message is one plain sentence that names what to change."""
