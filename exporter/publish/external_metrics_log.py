"""Log events of the external metrics API: one line per change of state, not per request."""

from collections import OrderedDict

import structlog

from exporter.publish.external_metrics_values import Question, RefusalError
from exporter.trouble import ONCE_EACH, Trouble

_log = structlog.get_logger(__name__)

_MAX_REMEMBERED = 256
"""Questions whose last outcome is remembered; an HPA asks one, always the same."""


class ExternalMetricsLog:
    """Compares each outcome with the one before."""

    def __init__(self) -> None:
        self._refusals: OrderedDict[tuple[Question, str], str | None] = OrderedDict()
        self._strangers = Trouble(
            _log, "request without the front proxy's certificate is rejected", remembered=ONCE_EACH
        )

    def served(self, question: Question, user: str) -> None:
        """Record a response with values."""
        if self._changed((question, user), None):
            _log.info("external metric is served", user=user, **_named(question))

    def refused(self, question: Question, user: str, refusal: RefusalError) -> None:
        """Record a refusal. The status distinguishes one kind of trouble from another; the message contains figures."""
        if self._changed((question, user), refusal.status.phrase):
            _log.warning(
                "external metric request is rejected",
                user=user,
                **_named(question),
                status=refusal.status.value,
                reason=refusal.message,
            )

    def stranger(self, message: str, address: str | None) -> None:
        """Record a request that the front proxy does not vouch for; logged once for each reason."""
        self._strangers.report(message, client=address, reason=message)

    def _changed(self, key: tuple[Question, str], outcome: str | None) -> bool:
        changed = key not in self._refusals or self._refusals[key] != outcome
        self._refusals[key] = outcome
        self._refusals.move_to_end(key)
        while len(self._refusals) > _MAX_REMEMBERED:
            self._refusals.popitem(last=False)
        return changed


def _named(question: Question) -> dict[str, str]:
    return {"metric": question.metric, "namespace": question.namespace, "selector": question.selector[:200]}
