"""Labels that the rules and dashboards select and aggregate by."""

CLUSTER_LABEL = "cluster"
"""Distinguishes clusters where one Prometheus holds several; without the label the rules work the same."""
FLEET = (CLUSTER_LABEL, "namespace", "fleet")
AGENT = (*FLEET, "pod")
INSTALLATION = (CLUSTER_LABEL, "namespace", "job")
"""Identifies an exporter with all its replicas, by labels that Prometheus adds to a target."""

OUT_OF_WORK = "disconnected|stopped"
"""States of an agent that answers and takes no tasks."""
