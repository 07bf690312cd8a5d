"""A real Kubernetes control plane for tests: etcd and kube-apiserver on free loopback ports, with RBAC.

The binaries are looked for where `KUBEBUILDER_ASSETS` says (the convention of Kubernetes' own test tools). There is no
kubelet: `Admin` writes the status of pods as one would. Nothing of the project under test is used here.
"""

import base64
import http.client
import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fakes.certificate_authority import CertificateAuthority, write_key
from tests.fakes.ports import free_port
from tests.waiting import PATIENCE

Json = dict[str, Any]

READY_SECONDS = 90.0
"""For a server to come up: seconds on an idle machine, many on a busy one."""
PROGRAMS = ("etcd", "kube-apiserver")
AUDIT_POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
NEWEST_FIRST = {
    "horizontalpodautoscalers": ("autoscaling", "v2", "v2beta2"),
    "poddisruptionbudgets": ("policy", "v1", "v1beta1"),
}
"""Group and versions of what not every server has in one version; the objects are the same in each."""


def assets() -> Path | None:
    """Return the folder of the binaries, or None where there is none."""
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not folder or not all((Path(folder) / program).exists() for program in PROGRAMS):
        return None
    return Path(folder)


class ControlPlane:
    """etcd and one API server that can be stopped and started. Blocking: use it from fixtures, or in a thread."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        """Prepare a control plane in an empty folder."""
        self.binaries = binaries
        self.folder = folder
        self.etcd_port, self._etcd_peer_port, self.port = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca = CertificateAuthority(folder, "ca")
        self.front_proxy_ca = CertificateAuthority(folder, "front-proxy-ca")
        self._admin_files = self.ca.issue("admin", "test-admin", "system:masters")
        self._tls = ssl.create_default_context(cafile=str(self.ca.certificate_file))
        self._tls.load_cert_chain(*map(str, self._admin_files))
        self.audit_log = folder / "audit.log"
        """Who asked what of the API server, and whether it was allowed: audit.k8s.io/v1 Events, a line each."""
        self._etcd: subprocess.Popen[bytes] | None = None
        self._api_server: subprocess.Popen[bytes] | None = None
        self._api_flags = self._write_certificates()
        self.kubeconfig = self._write_kubeconfig(
            "admin", {"client-certificate": str(self._admin_files[0]), "client-key": str(self._admin_files[1])}
        )

    @cached_property
    def version(self) -> tuple[int, int]:
        """The API server's version of Kubernetes, such as (1, 20): what tests adapt to."""
        said = subprocess.run(
            [self.binaries / "kube-apiserver", "--version"], capture_output=True, text=True, check=True
        ).stdout
        numbers = re.search(r"v(\d+)\.(\d+)", said)
        assert numbers, said
        return int(numbers[1]), int(numbers[2])

    def start(self) -> None:
        """Start etcd and the API server, and wait until both are ready."""
        url, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self._etcd_peer_port}"
        self._etcd = self._spawn(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        )
        self._wait("etcd", self._etcd, lambda: self._etcd_call("maintenance/status", {}))
        self.start_api_server()

    def stop(self) -> None:
        """Stop everything."""
        self.stop_api_server()
        if self._etcd is not None:
            self._etcd.terminate()
            _reap(self._etcd)
            self._etcd = None

    def start_api_server(self) -> None:
        """Start the API server, or start it again: the same port, the same etcd."""
        self._api_server = self._spawn("kube-apiserver", *self._api_flags)
        self._wait("kube-apiserver", self._api_server, lambda: self._admin_get("/readyz"))

    def stop_api_server(self) -> None:
        """Kill the API server, as a node that fails does; a polite end would wait for its watches first."""
        if self._api_server is not None:
            self._api_server.kill()
            _reap(self._api_server)
            self._api_server = None

    def compact(self) -> None:
        """Make etcd forget every version but the newest, so that older resourceVersions are Gone."""
        revision = self._etcd_call("maintenance/status", {})["header"]["revision"]
        self._etcd_call("kv/compaction", {"revision": revision, "physical": True})

    def erase(self, key: str) -> None:
        """Delete an object (`/registry/pods/<namespace>/<name>`) from etcd, also while the API server is away."""
        self._etcd_call("kv/deleterange", {"key": base64.b64encode(key.encode()).decode()})

    def kubeconfig_for_token(self, name: str, token: str) -> Path:
        """Write a kubeconfig that logs in with a bearer token."""
        return self._write_kubeconfig(name, {"token": token})

    @asynccontextmanager
    async def admin(self) -> AsyncIterator["Admin"]:
        """Open a session that may do everything."""
        connector = aiohttp.TCPConnector(ssl=self._tls)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(self.url, connector=connector, timeout=timeout) as session:
            yield Admin(session)

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{program}.log").open("ab") as log:
            # With the usual garbage collection the API server takes an eighth more CPU to start.
            return subprocess.Popen(
                [self.binaries / program, *arguments], stdout=log, stderr=log, env=os.environ | {"GOGC": "400"}
            )

    def _wait(self, program: str, process: subprocess.Popen[bytes], probe: Callable[[], object]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                probe()
            except (OSError, http.client.HTTPException) as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / f"{program}.log").read_text(errors="replace")
                    raise RuntimeError(f"{program} did not become ready ({error}):\n{log[-4000:]}") from error
                time.sleep(0.1)
            else:
                return

    def _admin_get(self, path: str) -> None:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self._tls)
        _exchange(connection, "GET", path)

    def _etcd_call(self, path: str, body: Json) -> Json:
        connection = http.client.HTTPConnection("127.0.0.1", self.etcd_port, timeout=PATIENCE)
        return cast(Json, json.loads(_exchange(connection, "POST", f"/v3/{path}", json.dumps(body))))

    def _write_certificates(self) -> list[str]:
        server = self.ca.issue("apiserver", "kube-apiserver", hosts=("127.0.0.1", "localhost", "10.0.0.1"))
        proxy = self.front_proxy_ca.issue("front-proxy-client", "front-proxy-client")
        audit_policy = self.folder / "audit-policy.json"
        audit_policy.write_text(json.dumps(AUDIT_POLICY), encoding="utf-8")
        service_account_key = self.folder / "service-account.key"
        write_key(service_account_key, ec.generate_private_key(ec.SECP256R1()))
        return [
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--cert-dir={self.folder}",
            f"--tls-cert-file={server[0]}",
            f"--tls-private-key-file={server[1]}",
            f"--client-ca-file={self.ca.certificate_file}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={service_account_key}",
            f"--service-account-signing-key-file={service_account_key}",
            f"--requestheader-client-ca-file={self.front_proxy_ca.certificate_file}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={proxy[0]}",
            f"--proxy-client-key-file={proxy[1]}",
            # It would want a controller to make a token for each pod.
            "--disable-admission-plugins=ServiceAccount",
            # They bypass the watch cache, so that a compaction reaches their watchers.
            "--watch-cache-sizes=configmaps#0",
            f"--audit-policy-file={audit_policy}",
            f"--audit-log-path={self.audit_log}",
        ]

    def _write_kubeconfig(self, name: str, user: Json) -> Path:
        cluster = {"server": self.url, "certificate-authority": str(self.ca.certificate_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
        }
        file = self.folder / f"{name}.kubeconfig"
        file.write_text(json.dumps(config))
        return file


def _exchange(connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None) -> bytes:
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise http.client.HTTPException(f"{method} {path}: {answer.status} {text[:200]!r}")
    return text


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=PATIENCE)


class Admin:
    """Does to the cluster what people, controllers and kubelets do."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(self, method: str, path: str, body: Json | None = None, content_type: str | None = None) -> Json:
        """Send one request; raises for any answer that is not 2xx."""
        headers = {"Content-Type": content_type or "application/json"}
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers=headers) as answer:
            text = await answer.text()
            if not answer.ok:
                raise RuntimeError(f"{method} {path}: {answer.status} {text}")
            return cast(Json, json.loads(text))

    async def collection(self, resource: str, namespace: str) -> str:
        """Return the path of a collection in the newest version that this server has and tests know."""
        group, *known = NEWEST_FIRST[resource]
        served = {one["version"] for one in (await self.call("GET", f"/apis/{group}"))["versions"]}
        version = next(one for one in known if one in served)
        return f"/apis/{group}/{version}/namespaces/{namespace}/{resource}"

    async def create_namespace(self, name: str) -> None:
        """Make a namespace."""
        await self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})

    async def create_pod(
        self,
        namespace: str,
        name: str,
        *,
        labels: Mapping[str, str],
        memory_limit: str = "4Gi",
        grace_seconds: int = 43200,
    ) -> str:
        """Make a pod that no kubelet runs, bound to a node so that its deletion has to wait; returns its UID."""
        container = {
            "name": "agent",
            "image": "agent:1",
            "ports": [{"containerPort": 8080}, {"containerPort": 9464}],
            "resources": {"limits": {"memory": memory_limit, "cpu": "1"}},
        }
        spec = {"nodeName": "node-1", "terminationGracePeriodSeconds": grace_seconds, "containers": [container]}
        metadata = {"name": name, "labels": dict(labels)}
        pod = await self.call("POST", f"/api/v1/namespaces/{namespace}/pods", {"metadata": metadata, "spec": spec})
        return cast(str, pod["metadata"]["uid"])

    async def set_status(self, namespace: str, name: str, status: Json) -> None:
        """Write a pod's status as its kubelet would."""
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
        await self.call("PATCH", path, {"status": status}, "application/strategic-merge-patch+json")

    async def run_pod(self, namespace: str, name: str, ip: str, *, ready_time: str = "2024-01-01T00:00:00Z") -> None:
        """Report a pod as running and ready."""
        state = {"running": {"startedAt": ready_time}}
        agent = {"name": "agent", "ready": True, "restartCount": 0, "image": "agent:1", "imageID": "", "state": state}
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": ready_time}
        status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [ready]}
        await self.set_status(namespace, name, {**status, "containerStatuses": [agent]})

    async def label_pod(self, namespace: str, name: str, labels: Mapping[str, str | None]) -> None:
        """Set labels of a pod; None takes one away."""
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        await self.call("PATCH", path, {"metadata": {"labels": dict(labels)}}, "application/merge-patch+json")

    async def delete_pod(self, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Ask for a pod's deletion; with 0 seconds it is gone at once, as after its kubelet has ended it."""
        query = "" if grace_seconds is None else f"?gracePeriodSeconds={grace_seconds}"
        await self.call("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}{query}")

    async def evict_pod(self, namespace: str, name: str, *, grace_seconds: int) -> None:
        """Evict a pod as a node's drain does; raises where a PodDisruptionBudget forbids it."""
        _, _, group, version, *_ = (await self.collection("poddisruptionbudgets", namespace)).split("/")
        body = {
            "apiVersion": f"{group}/{version}",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"gracePeriodSeconds": grace_seconds},
        }
        await self.call("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body)

    async def service_account_token(self, namespace: str, name: str) -> str:
        """Make a service account and a token for it, as the kubelet would mount."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        await self.call("POST", accounts, {"metadata": {"name": name}})
        answer = await self.call("POST", f"{accounts}/{name}/token", {"spec": {"expirationSeconds": 3600}})
        return cast(str, answer["status"]["token"])

    async def grant(
        self, namespace: str, account: str, name: str, rules: list[Json], *, account_namespace: str | None = None
    ) -> None:
        """Make a Role with `rules` and bind it to a service account, of the same namespace if no other is given."""
        base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        await self.call("POST", f"{base}/roles", {"metadata": {"name": name}, "rules": rules})
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "namespace": account_namespace or namespace, "name": account}],
        }
        await self.call("POST", f"{base}/rolebindings", binding)
