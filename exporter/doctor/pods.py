"""What the checks of agents' pods share: how a pod is read, and what its fleet is called."""

import time

from exporter.config import Settings
from exporter.discovery.pod_addresses import own_addresses
from exporter.discovery.pod_facts import PodReader
from exporter.discovery.pods import ReadyInstants
from exporter.fleet.model import Target


def pod_reader(settings: Settings) -> PodReader:
    """Return what reads pods as the exporter does."""
    instants = ReadyInstants(time.monotonic, time.time)
    kubernetes = settings.discovery.kubernetes
    return PodReader(kubernetes.fleet_label, settings.scrape.endpoints, instants, own=own_addresses())


def fleet_name(target: Target) -> str:
    """Return the name of an agent's fleet as findings have it."""
    return f"{target.namespace}/{target.fleet}"
