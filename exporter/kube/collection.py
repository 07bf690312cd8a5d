"""Parses what the API server says of a collection: pages of a list, lines of a watch. Pure.

What is not as Kubernetes defines it is an error, for which the collection is listed again, never an empty list.
"""

from exporter.kube.api import Json, KubeError, Resource
from exporter.kube.json_text import parse_json


class OutOfStepError(KubeError):
    """What was read is inconsistent, or no answer of Kubernetes; only a list can restore the state."""


def read_page(resource: Resource, page: Json) -> tuple[list[Json], str, str]:
    """Return a list answer's objects, its version, and the token for the next page; "" after the last.

    Even an empty list is validated: what is none must not be taken for it. Raises OutOfStepError.
    """
    metadata = page.get("metadata")
    objects = page.get("items", ())
    objects = [] if objects is None else objects
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(objects, list) or not isinstance(version, str) or not version:
        raise OutOfStepError(f"The response to a list of {resource} is not a list.")
    return objects, version, str(metadata.get("continue") or "")


def read_event(line: bytes) -> tuple[str, Json]:
    """Return the type and the object of a line of a watch. Raises OutOfStepError."""
    try:
        event = parse_json(line)
    except ValueError as error:
        raise OutOfStepError(f"A line of {len(line)} bytes in a watch is not JSON: {error}.") from error
    kind = event.get("type") if isinstance(event, dict) else None
    obj = event.get("object") if isinstance(event, dict) else None
    if not isinstance(kind, str) or not isinstance(obj, dict):
        raise OutOfStepError(f"A line of {len(line)} bytes in a watch is not an event.")
    return kind, obj


def version_of(obj: object) -> str:
    """Return an object's version. Raises OutOfStepError."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version:
        raise OutOfStepError("An object has no resourceVersion.")
    return version


def identity_of(obj: object) -> tuple[str, str]:
    """Return an object's UID and version. Raises OutOfStepError."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    if not isinstance(uid, str) or not uid:
        raise OutOfStepError("An object has no UID.")
    return uid, version_of(obj)
