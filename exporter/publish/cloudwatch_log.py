"""What the log says of publishing to CloudWatch: one line when something changes, none while it stays as it is."""

import structlog

from exporter.config import CloudWatchSettings
from exporter.publish.datum import Datum
from exporter.publish.put_metric_data import Answer, Outcome

_log = structlog.get_logger(__name__)

# Series whose rejection was logged; with more of them the log begins anew.
_MOST_COMPLAINTS = 1000


class PublishingLog:
    """What was said already is not said again until it has changed."""

    def __init__(self, settings: CloudWatchSettings) -> None:
        self._settings = settings
        self._troubles: set[Outcome] = set()
        self._complaints: set[str] = set()
        self._dropping = False
        self._cost = False
        self._left_out = False

    def answered(self, answer: Answer, waiting: int) -> None:
        """Say when CloudWatch stops and when it begins to take data; each kind of trouble once an outage."""
        if answer.outcome in {Outcome.ACCEPTED, Outcome.REJECTED}:
            if self._troubles:
                _log.info("CloudWatch takes data again", datums_waiting=waiting)
            self._troubles.clear()
        elif answer.outcome not in self._troubles:
            self._troubles.add(answer.outcome)
            _log.warning(
                "CloudWatch does not take data; it is kept and sent later",
                outcome=answer.outcome.value, reason=answer.reason, fix=self._fix(answer.outcome),
            )  # fmt: skip

    def _fix(self, outcome: Outcome) -> str:
        if outcome is Outcome.DENIED:
            return (
                "give the pod a role that allows cloudwatch:PutMetricData in the namespace "
                f"{self._settings.namespace} (docs/cloudwatch.md)"
            )
        if outcome is Outcome.THROTTLED:
            return "nothing, if it passes; else ask AWS for a higher PutMetricData quota or publish less often"
        return "check the way to CloudWatch (cloudwatch.region, cloudwatch.endpoint_url, NetworkPolicy, VPC endpoint)"

    def rejected(self, datum: Datum, reason: str) -> None:
        """Say, once a series, that CloudWatch will never take its datum."""
        series = str(datum.series)
        if series in self._complaints:
            return
        if len(self._complaints) >= _MOST_COMPLAINTS:
            self._complaints.clear()
        self._complaints.add(series)
        _log.error("CloudWatch does not take this datum; it is dropped", series=series, time=datum.time, reason=reason)

    def dropped(self, expired: int, overflowed: int) -> None:
        """Say when data that was never sent begins to be lost."""
        dropping = bool(expired or overflowed)
        if dropping and not self._dropping:
            _log.error(
                "data that CloudWatch never took is dropped",
                too_old=expired, too_many=overflowed,
                fix="see why CloudWatch does not take data; cloudwatch.spool has the bounds of what is kept",
            )  # fmt: skip
        self._dropping = dropping

    def cost(self, fleets: int, series: int, dollars: float) -> None:
        """Say once, when there is something to publish, what that will cost."""
        if series and not self._cost:
            self._cost = True
            _log.info(
                "publishing to CloudWatch",
                namespace=self._settings.namespace, fleets=fleets, metric_months=series,
                estimated_dollars_per_month=round(dollars, 2),
            )  # fmt: skip

    def left_out(self, agents: int) -> None:
        """Say when agents get no series of their own because there are too many."""
        if agents and not self._left_out:
            _log.warning(
                "some agents have no series of their own in CloudWatch",
                agents=agents, fix="raise cloudwatch.max_per_agent; every series is billed",
            )  # fmt: skip
        self._left_out = bool(agents)
