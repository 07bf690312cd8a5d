"""Which URLs are AWS's. Needs no AWS library."""

import re
from urllib.parse import urlsplit

# https://docs.aws.amazon.com/general/latest/gr/prometheus-service.html: standard, FIPS, dual stack; and VPC endpoints.
_MANAGED_PROMETHEUS = re.compile(
    r"(?:vpce-[a-z0-9-]+\.)?aps-workspaces(?:-fips)?\.([a-z]{2,}(?:-[a-z]+)+-[0-9]+)\.(?:(?:vpce\.)?amazonaws\.com(?:\.cn)?|api\.aws)"
)
_MAX_HOST_LENGTH = 253


def managed_prometheus_region(url: str) -> str | None:
    """Return the region of an Amazon Managed Prometheus by its URL; None if it is another Prometheus."""
    host = urlsplit(url).hostname or ""
    match = _MANAGED_PROMETHEUS.fullmatch(host) if len(host) <= _MAX_HOST_LENGTH else None
    return match[1] if match else None
