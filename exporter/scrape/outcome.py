"""The result of a scrape: the label of the counter, and the error with a readable message."""

from enum import StrEnum


class ScrapeOutcome(StrEnum):
    """How a scrape ended: the values of `scrapes_total{outcome}`."""

    OK = "ok"
    OFF_LIMITS = "off_limits"
    CONNECT = "connect"
    TIMEOUT = "timeout"
    CUT = "cut"
    NOT_HTTP = "not_http"
    HTTP_STATUS = "http_status"
    REDIRECT = "redirect"
    CONTENT_TYPE = "content_type"
    ENCODING = "encoding"
    TOO_LARGE = "too_large"
    NOT_AN_AGENT = "not_an_agent"
    NO_TASK_COUNT = "no_task_count"
    INTERNAL = "internal"


class ScrapeError(Exception):
    """One attempt failed; the message states why, not where."""

    def __init__(self, outcome: ScrapeOutcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
