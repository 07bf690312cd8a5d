"""Reads and writes single ConfigMaps, always over the version that was read."""

from dataclasses import replace

from exporter.kube.api import ApiError, Json, KubeGetter, KubeWriter, Resource
from exporter.kube.fields import mapping, text

CONFIG_MAPS = Resource("", "v1", "configmaps")
CHANGED_MEANWHILE = (404, 409)
"""Status of a write over a version that is not the stored one: deleted, changed, or created by another client."""

_NOT_FOUND = 404


async def read_or_new(api: KubeGetter, place: Resource, *, timeout: float) -> Json:
    """Return the ConfigMap at `place`, one without a version if there is none. Raises KubeError."""
    try:
        return await api.get(place, timeout=timeout)
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
    metadata = {"name": place.name, "namespace": place.namespace}
    return {"apiVersion": CONFIG_MAPS.version, "kind": "ConfigMap", "metadata": metadata}


async def write(api: KubeWriter, place: Resource, config_map: Json, *, timeout: float) -> Json:
    """Create the ConfigMap, or replace the version it has; return it as stored.

    Raises KubeError; its status is one of CHANGED_MEANWHILE if that version is not the stored one.
    """
    method, place = ("PUT", place) if version(config_map) else ("POST", replace(place, name=None))
    return await api.send(method, place, config_map, timeout=timeout)


def version(config_map: Json) -> str | None:
    """Return the version of a ConfigMap; None if it is not stored."""
    return text(mapping(config_map.get("metadata")).get("resourceVersion"))
