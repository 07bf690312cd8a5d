"""What was asked of the API server by whom, and whether it was allowed: its audit log."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.chart.rendering import Json, Objects


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


class Requests:
    """What a user asked so far, each request once."""

    def __init__(self, log: Path, user: str) -> None:
        """Take the API server's audit log, which grows; what was in it before is not read."""
        self._log = log
        self._user = user
        self._read = log.stat().st_size
        self._asked: dict[Request, None] = {}

    def __call__(self) -> list[Request]:
        """Read on to where the last whole line ends."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            written = log.read()
        lines, _, _ = written.rpartition(b"\n")
        self._read += len(lines)
        for line in lines.splitlines():
            if self._user.encode() in line:
                self._take(json.loads(line))
        return list(self._asked)

    def _take(self, event: Json) -> None:
        if event["user"]["username"] != self._user or "objectRef" not in event or event["stage"] == "RequestReceived":
            return
        what, said = event["objectRef"], event.get("annotations", {})
        asked = Request(
            verb=event["verb"],
            group=what.get("apiGroup", ""),
            resource="/".join(part for part in (what["resource"], what.get("subresource")) if part),
            namespace=what.get("namespace", ""),
            name=what.get("name", ""),
            allowed=said.get("authorization.k8s.io/decision") == "allow",
            reason=said.get("authorization.k8s.io/reason", ""),
        )
        self._asked[asked] = None


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
