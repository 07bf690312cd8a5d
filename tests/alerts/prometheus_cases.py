"""One row per alert (some have more): when it must fire, with which words, and what is just not enough for it.

From each row the tests make: it fires; not before its time; it ends; what is just not enough never fires it; two
replicas of the exporter make one alert, not two.
"""

from tests.alerts.prometheus_agent_cases import AGENT_CASES
from tests.alerts.prometheus_other_cases import OTHER_CASES
from tests.alerts.prometheus_outage_cases import OUTAGE_CASES

CASES = (*OUTAGE_CASES, *OTHER_CASES, *AGENT_CASES)
