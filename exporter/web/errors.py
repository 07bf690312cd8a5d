"""The one exception the web raises for a person to read."""


class WebError(Exception):
    """The web server cannot start as it is configured. The message is one plain sentence that names what to change."""
