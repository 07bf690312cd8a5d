"""Which source of the past the settings choose."""

from collections.abc import Callable

from exporter.config import Settings
from exporter.history.config_maps import ConfigMapHistory
from exporter.history.history_file import HistoryFile
from exporter.history.past import PastSource
from exporter.history.prometheus import from_prometheus
from exporter.kube.client import KubeClient
from exporter.kube.config_maps import CONFIG_MAPS
from exporter.kube.credentials import own_namespace
from exporter.kube.election import Leadership
from exporter.kube.watch import RestartReason
from exporter.store.snapshots import SnapshotStore


def past_source(
    settings: Settings,
    kube: KubeClient | None,
    store: SnapshotStore,
    leadership: Leadership,
    *,
    on_restart: Callable[[RestartReason], None],
) -> PastSource | None:
    """Return where the past of the fleets comes from; None without a forecast.

    Without Kubernetes (`kube` is None) it is kept in a file. `on_restart` is called when a watch starts anew.
    """
    forecast = settings.forecast
    if not forecast.enabled:
        return None
    if forecast.source == "prometheus":
        return from_prometheus(forecast)
    if forecast.source == "cloudwatch":
        # The AWS libraries take half a second to import: only if needed.
        from exporter.history.cloudwatch import from_cloudwatch  # noqa: PLC0415

        return from_cloudwatch(forecast, settings.cloudwatch, settings.cluster or "", store)
    if kube is None or not settings.discovery.kubernetes.enabled:
        return HistoryFile(forecast, store)
    lease_name, place = settings.leader_election.lease_name, CONFIG_MAPS.within(own_namespace())
    return ConfigMapHistory(forecast, lease_name, store, kube, leadership, place=place, on_restart=on_restart)
