"""What was asked of the API server by whom, and whether it was allowed: its audit log."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.chart.rendering import Json, Objects

POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}


@dataclass(frozen=True, slots=True)
class Request:
    """One request, in the words of RBAC."""

    verb: str
    group: str
    resource: str
    """With its subresource: `pods/log`."""
    namespace: str
    name: str
    allowed: bool
    reason: str
    """Which binding allowed it."""


def flags(folder: Path) -> tuple[str, ...]:
    """Return what makes kube-apiserver write its audit log into a folder."""
    policy = folder / "audit-policy.json"
    policy.write_text(json.dumps(POLICY), encoding="utf-8")
    return (f"--audit-policy-file={policy}", f"--audit-log-path={folder / 'audit.log'}")


def requests(folder: Path, user: str) -> list[Request]:
    """Return what a user asked so far, each request once."""
    return list(dict.fromkeys(_requests(folder / "audit.log", user)))


def _requests(log: Path, user: str) -> Iterator[Request]:
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["user"]["username"] != user or "objectRef" not in event or event["stage"] == "RequestReceived":
            continue
        what, said = event["objectRef"], event.get("annotations", {})
        yield Request(
            verb=event["verb"],
            group=what.get("apiGroup", ""),
            resource="/".join(part for part in (what["resource"], what.get("subresource")) if part),
            namespace=what.get("namespace", ""),
            name=what.get("name", ""),
            allowed=said.get("authorization.k8s.io/decision") == "allow",
            reason=said.get("authorization.k8s.io/reason", ""),
        )


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource that a rule of a rendered role gives."""

    verb: str
    group: str
    resource: str
    namespace: str
    """Where it holds; "" for the whole cluster."""
    names: tuple[str, ...]

    def covers(self, asked: Request) -> bool:
        """Whether it allows a request."""
        return (
            (self.verb, self.group, self.resource) == (asked.verb, asked.group, asked.resource)
            and self.namespace in ("", asked.namespace)
            and (not self.names or asked.name in self.names)
        )


def rights(objects: Objects, account: Json) -> list[Right]:
    """Return every right that the rendered roles give a service account."""
    subject = {"kind": "ServiceAccount", **{key: account["metadata"][key] for key in ("name", "namespace")}}
    bound = {
        (one["roleRef"]["name"], one["metadata"].get("namespace", ""))
        for one in objects
        if one["kind"] in ("RoleBinding", "ClusterRoleBinding")
        if subject in one["subjects"]
    }
    return [
        Right(verb, group, resource, role["metadata"].get("namespace", ""), tuple(rule.get("resourceNames", ())))
        for role in objects
        if role["kind"] in ("Role", "ClusterRole")
        if (role["metadata"]["name"], role["metadata"].get("namespace", "")) in bound
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
