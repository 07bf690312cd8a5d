"""The documents by which an aggregated API describes itself, and the form of its answers and errors.

Pure: JSON objects as the Kubernetes API defines them ("API reference", kubernetes.io), of the one group and version
that is served. It must not know the client, nor which metric is requested.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

Json = dict[str, object]

GROUP = "external.metrics.k8s.io"
VERSION = "v1beta1"
GROUP_VERSION = f"{GROUP}/{VERSION}"
GROUP_PATH = f"/apis/{GROUP}"
VERSION_PATH = f"/apis/{GROUP_VERSION}"
OPENAPI_V2_PATH = "/openapi/v2"
OPENAPI_V3_PATH = "/openapi/v3"
OPENAPI_V3_GROUP_PATH = f"{OPENAPI_V3_PATH}{VERSION_PATH}"

_REASONS = {
    HTTPStatus.BAD_REQUEST: "BadRequest",
    HTTPStatus.UNAUTHORIZED: "Unauthorized",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "MethodNotAllowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestEntityTooLarge",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalError",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
}
"""Kubernetes' own word for each status; one without a word of its own has none."""
_KIND = {"group": GROUP, "version": VERSION}
_LIST, _VALUE = (
    f"io.k8s.metrics.external.{VERSION}.{kind}" for kind in ("ExternalMetricValueList", "ExternalMetricValue")
)


@dataclass(frozen=True, slots=True)
class StaticDocument:
    """A document that never changes while the process lives, with the tag by which a client knows that it has it."""

    body: bytes
    tag: str

    @classmethod
    def of(cls, document: Mapping[str, object]) -> "StaticDocument":
        """Encode a document."""
        body = encode(document)
        return cls(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def encode(document: Mapping[str, object]) -> bytes:
    """Return the document as JSON."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def status(code: int, message: str) -> Json:
    """Return the `Status` object that Kubernetes sends for an error."""
    reason = _REASONS.get(HTTPStatus(code))
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        **({} if reason is None else {"reason": reason}),
        "code": int(code),
    }


def value_list(items: Sequence[Mapping[str, object]]) -> Json:
    """Return the answer that carries values."""
    return {"kind": "ExternalMetricValueList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": list(items)}


def api_group() -> Json:
    """Return what there is of the group: one version."""
    version = {"groupVersion": GROUP_VERSION, "version": VERSION}
    return {"kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version}


def api_resources(metrics: Iterable[str]) -> Json:
    """Return the list of what the version offers: every metric is a resource."""
    resources = [
        {
            "name": name,
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
        for name in metrics
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION, "resources": resources}


def openapi_v2(title_version: str) -> Json:
    """Return the description of the API that `kubectl explain` and older API servers read."""
    parameters = [_parameter(name, where) | {"type": "string"} for name, where in _PARAMETERS]
    operation = _operation({"description": "OK", "schema": {"$ref": f"#/definitions/{_LIST}"}})
    return {
        "swagger": "2.0",
        "info": {"title": "matillion-fleet-exporter", "version": title_version},
        "paths": {_PATH: {"get": operation | {"produces": ["application/json"]}, "parameters": parameters}},
        "definitions": _schemas("#/definitions/"),
    }


def openapi_v3(title_version: str) -> Json:
    """Return the same in the form that newer API servers read."""
    parameters = [_parameter(name, where) | {"schema": {"type": "string"}} for name, where in _PARAMETERS]
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{_LIST}"}}}
    return {
        "openapi": "3.0.0",
        "info": {"title": "matillion-fleet-exporter", "version": title_version},
        "paths": {_PATH: {"get": _operation({"description": "OK", "content": content}), "parameters": parameters}},
        "components": {"schemas": _schemas("#/components/schemas/")},
    }


def openapi_v3_index(described: StaticDocument) -> Json:
    """Return where the description of each group and version is; its hash lets the reader keep what it has."""
    url = f"{OPENAPI_V3_GROUP_PATH}?hash={described.tag.strip(chr(34))}"
    return {"paths": {VERSION_PATH.lstrip("/"): {"serverRelativeURL": url}}}


_PATH = f"{VERSION_PATH}/namespaces/{{namespace}}/{{metric}}"
_PARAMETERS = (("namespace", "path"), ("metric", "path"), ("labelSelector", "query"))


def _parameter(name: str, where: str) -> Json:
    return {"name": name, "in": where, "required": where == "path"}


def _operation(good: Mapping[str, object]) -> Json:
    return {
        "description": "list the values of a metric, one for each fleet that matches",
        "operationId": "listExternalMetricsV1beta1NamespacedMetric",
        "responses": {"200": good},
        "x-kubernetes-action": "list",
        "x-kubernetes-group-version-kind": {**_KIND, "kind": "ExternalMetricValueList"},
    }


def _schemas(prefix: str) -> Json:
    text = {"type": "string"}
    value = {
        "type": "object",
        "required": ["metricName", "metricLabels", "timestamp", "value"],
        "properties": {
            "metricName": text,
            "metricLabels": {"type": "object", "additionalProperties": text},
            "timestamp": {"type": "string", "format": "date-time"},
            "value": {"type": "string", "description": "a quantity, such as 16500m"},
        },
        "x-kubernetes-group-version-kind": [{**_KIND, "kind": "ExternalMetricValue"}],
    }
    values = {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text,
            "kind": text,
            "metadata": {"type": "object"},
            "items": {"type": "array", "items": {"$ref": f"{prefix}{_VALUE}"}},
        },
        "x-kubernetes-group-version-kind": [{**_KIND, "kind": "ExternalMetricValueList"}],
    }
    return {_LIST: values, _VALUE: value}
