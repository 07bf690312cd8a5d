"""What findings point to: runbooks, which every exporter serves, and the documentation's pages by their titles.

The doctor runs in the image, which has no files of the repository: no fix may name one.
"""


def runbook(alert: str) -> str:
    """Return where the runbook of an alert is: on the exporter's own page."""
    return f"runbook: /runbooks/{alert} on the exporter's page"
