"""Log events of publishing to CloudWatch: one line per change of state."""

import logging

import structlog

from exporter.config import CloudWatchSettings
from exporter.publish.datum import Datum
from exporter.publish.put_metric_data import PutOutcome, PutResult
from exporter.trouble import ONCE_EACH, Trouble

_log = structlog.get_logger(__name__)


_LET_THROUGH = "let the proxies on the way to CloudWatch pass requests of 1 MB"


class PublishingLog:
    """Logs each state once, until it changes."""

    def __init__(self, settings: CloudWatchSettings) -> None:
        self._settings = settings
        self._not_taken = Trouble(
            _log,
            "CloudWatch does not accept data; it is spooled and sent later",
            "CloudWatch accepts data again",
            remembered=len(PutOutcome),
        )
        self._rejected = Trouble(
            _log,
            "CloudWatch rejects a datum; it is dropped",
            level=logging.ERROR,
            remembered=ONCE_EACH,
        )
        self._too_large = Trouble(
            _log,
            "a datum is too large for the way to CloudWatch; it is spooled and sent later",
            remembered=ONCE_EACH,
        )
        self._dropped = Trouble(_log, "data that CloudWatch did not accept is dropped", level=logging.ERROR)
        self._left_out = Trouble(_log, "some agents have no metrics of their own in CloudWatch")
        self._cost_logged = False

    def answered(self, answer: PutResult, waiting: int) -> None:
        """Log when CloudWatch stops and when it begins to accept data; each kind of trouble once per outage."""
        if answer.outcome in {PutOutcome.ACCEPTED, PutOutcome.REJECTED}:
            self._not_taken.resolve(datums_waiting=waiting)
        else:
            self._not_taken.report(
                answer.outcome, outcome=answer.outcome.value, reason=answer.reason, fix=self._fix(answer.outcome)
            )

    def _fix(self, outcome: PutOutcome) -> str:
        if outcome is PutOutcome.DENIED:
            return (
                "give the pod a role that allows cloudwatch:PutMetricData in the namespace "
                f"{self._settings.namespace} (documentation: cloudwatch)"
            )
        if outcome is PutOutcome.TOO_LARGE:
            return _LET_THROUGH
        if outcome is PutOutcome.THROTTLED:
            return "none if it recovers; otherwise request a higher PutMetricData quota or publish less often"
        return (
            "check the network path to CloudWatch (cloudwatch.region, cloudwatch.endpoint_url, "
            "NetworkPolicy, VPC endpoint)"
        )

    def rejected(self, datum: Datum, reason: str) -> None:
        """Log, once per series, that CloudWatch will never accept its datum."""
        series = str(datum.series)
        self._rejected.report(series, series=series, time=datum.time, reason=reason)

    def too_large(self, datum: Datum, reason: str) -> None:
        """Log, once per series, that its datum does not get through."""
        series = str(datum.series)
        self._too_large.report(series, series=series, time=datum.time, reason=reason, fix=_LET_THROUGH)

    def dropped(self, expired: int, overflowed: int) -> None:
        """Log when data that was never sent begins to be lost."""
        if expired or overflowed:
            fix = "check why CloudWatch does not accept data; cloudwatch.spool limits what is stored"
            self._dropped.report(too_old=expired, too_many=overflowed, fix=fix)
        else:
            self._dropped.resolve()

    def cost(self, fleets: int, series: int, dollars: float) -> None:
        """Log once, when there is something to publish, what that will cost."""
        if series and not self._cost_logged:
            self._cost_logged = True
            _log.info(
                "publishing to CloudWatch",
                namespace=self._settings.namespace, fleets=fleets, metric_months=series,
                estimated_dollars_per_month=round(dollars, 2),
            )  # fmt: skip

    def left_out(self, agents: int) -> None:
        """Log when agents get no series of their own because there are too many."""
        if agents:
            self._left_out.report(agents=agents, fix="raise cloudwatch.max_per_agent; every metric is billed")
        else:
            self._left_out.resolve()
