"""The release's own test (`helm test`): asks the Service for /readyz and /metrics. Runs in the exporter's image."""

import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

SECONDS = 90
FAMILY = "matillion_fleet_exporter_build_info"

url, wanted = os.environ["URL"], int(os.environ["METRICS_STATUS"])
context = None
if certificate := os.environ.get("CERTIFICATE_FILE"):
    # It is the very certificate the server has to show, so the name in it does not matter.
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def ask(path):
    """Return status and text of an answer."""
    request = urllib.request.Request(url + path)  # noqa: S310 - the chart gives the URL, http or https
    if token_file := os.environ.get("TOKEN_FILE"):
        request.add_header("Authorization", f"Bearer {Path(token_file).read_text().strip()}")
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310 - as above
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


deadline = time.monotonic() + SECONDS
while True:
    try:
        status, text = ask("/readyz")
    except OSError as error:
        status, text = 0, f"{error}"
    if status == HTTPStatus.OK:
        break
    # 503 is "not yet", and 0 is no answer at all; nothing else gets better by waiting.
    if status not in (0, HTTPStatus.SERVICE_UNAVAILABLE) or time.monotonic() > deadline:
        sys.exit(f"{url}/readyz: {status} {text.strip()}: the exporter is not ready; its log says what it waits for")
    time.sleep(1)
sys.stdout.write("/readyz: 200\n")

status, text = ask("/metrics")
if status != wanted:
    sys.exit(f"/metrics: {status} instead of {wanted}: {text.strip()[:500]}")
if status == HTTPStatus.OK and FAMILY not in text:
    sys.exit(f"/metrics: 200, but without {FAMILY}: another server answers")
sys.stdout.write(f"/metrics: {status}, as it should\n")
