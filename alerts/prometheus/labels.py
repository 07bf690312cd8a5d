"""Labels that the rules and dashboards select and aggregate by."""

CLUSTER_LABEL = "cluster"
"""The label that tells clusters apart where one Prometheus holds several; where there is none it changes nothing."""
FLEET = (CLUSTER_LABEL, "namespace", "fleet")
AGENT = (*FLEET, "pod")
INSTALLATION = (CLUSTER_LABEL, "namespace", "job")
"""What the replicas of one exporter have in common and two exporters do not: labels that Prometheus gives a target."""

OUT_OF_WORK = "disconnected|stopped"
"""States of an agent that answers and takes no work."""
