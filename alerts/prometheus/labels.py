"""Labels that the rules and dashboards select and aggregate by."""

CLUSTER_LABEL = "cluster"
"""Distinguishes clusters where one Prometheus holds several; without the label the rules work the same."""
FLEET = (CLUSTER_LABEL, "namespace", "fleet")
AGENT = (*FLEET, "pod")
INSTALLATION = (CLUSTER_LABEL, "namespace", "job")
"""Identifies an exporter with all its replicas, by labels that Prometheus adds to a target."""

A_FLEET = "fleet {{ $labels.fleet }} in namespace {{ $labels.namespace }}"
"""A fleet in the text of its alerts."""
BEGINNING = f"F{A_FLEET[1:]}"
"""The same at the beginning of a sentence."""
BEGINNING = f"F{A_FLEET[1:]}"
"""The same at the beginning of a sentence."""

OUT_OF_WORK = "disconnected|stopped"
"""States of an agent that answers and takes no tasks."""
