"""What state CloudWatch gives an alarm, by its documented rules, from the data points of a metric.

Source: Amazon CloudWatch User Guide, "Configuring how CloudWatch alarms treat missing data"
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html), with its sections on the
evaluation range and on premature transitions to ALARM. Its tables of examples are the test of this module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.publish.datum import Datum

MINUTE = 60
OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"


def evaluate(points: Sequence[bool | None], state: str, *, needed: int, to_alarm: int, missing: str) -> str:
    """Return the state that follows `state`.

    `points` is the evaluation range, oldest first: whether each data point is breaching, None where it is missing.
    CloudWatch looks further back than the `needed` evaluation periods, how far is not documented.
    """
    real = [point for point in points if point is not None]
    if len(real) >= needed:
        return ALARM if sum(real[-needed:]) >= to_alarm else OK
    breaching = sum(real)
    if missing == "breaching":
        return ALARM if breaching + needed - len(real) >= to_alarm else OK
    if breaching >= to_alarm:
        return ALARM
    if missing == "notBreaching" or breaching < len(real):
        return OK
    if missing == "ignore":
        return state
    # All there is breaches, and it is too little. It is an alarm all the same once the oldest is old enough.
    oldest = next((age for age, point in zip(range(len(points), 0, -1), points, strict=True) if point), 0)
    return ALARM if oldest >= to_alarm else INSUFFICIENT_DATA


@dataclass
class Alarm:
    """One alarm of a template, which goes from state to state once a minute."""

    properties: Mapping[str, Any]
    extra: int
    """How many data points further back than its evaluation periods CloudWatch looks."""
    state: str = INSUFFICIENT_DATA
    """That of an alarm that was just made."""

    def look(self, minutes: Sequence[Sequence[Datum]]) -> str:
        """Evaluate at the end of the last minute, with what was published in each so far, and return the state."""
        needed = int(self.properties["EvaluationPeriods"])
        length = int(self.properties["Period"]) // MINUTE
        ends = [len(minutes) - length * back for back in range(needed + self.extra)]
        points = [self._breaching(minutes[max(0, end - length) : end]) if end > 0 else None for end in reversed(ends)]
        self.state = evaluate(
            points,
            self.state,
            needed=needed,
            to_alarm=int(self.properties.get("DatapointsToAlarm", needed)),
            missing=self.properties["TreatMissingData"],
        )
        return self.state

    def _breaching(self, minutes: Sequence[Sequence[Datum]]) -> bool | None:
        dimensions = {(one["Name"], one["Value"]) for one in self.properties["Dimensions"]}
        values = [
            value
            for datums in minutes
            for datum in datums
            if datum.series.metric == self.properties["MetricName"] and set(datum.series.dimensions) == dimensions
            for value, count in zip(datum.values, datum.counts or (1,) * len(datum.values), strict=True)
            for _ in range(int(count))
        ]
        if not values:
            return None
        statistic: dict[str, float] = {
            "Maximum": max(values),
            "Minimum": min(values),
            "Average": sum(values) / len(values),
            "Sum": sum(values),
            "SampleCount": len(values),
        }
        return breaches(self.properties, statistic[self.properties["Statistic"]])


def breaches(alarm: Mapping[str, Any], value: float) -> bool:
    """Return whether a value is on the wrong side of an alarm's threshold."""
    threshold = float(alarm["Threshold"])
    return {
        "GreaterThanThreshold": value > threshold,
        "GreaterThanOrEqualToThreshold": value >= threshold,
        "LessThanThreshold": value < threshold,
        "LessThanOrEqualToThreshold": value <= threshold,
    }[alarm["ComparisonOperator"]]
