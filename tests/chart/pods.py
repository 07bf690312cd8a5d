"""Runs the exporter's pod of a render as a kubelet would: the image, and from the objects everything else.

Arguments, environment, user, mounts and their contents come from the objects; the network is this machine's.
"""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from tests.chart.rendering import Json, Objects
from tests.fakes.built_image import Image, Mount
from tests.waiting import PATIENCE

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
Files = Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a pod is given of its cluster."""

    port: int
    """Of the API server, on 127.0.0.1."""
    ca_file: Path
    token: str
    namespace: str


class Pod:
    """A pod's only container, running."""

    def __init__(self, process: asyncio.subprocess.Process, container: Json, mounts: Sequence[Mount]) -> None:
        self.process = process
        self.container = container
        self.mounts = {mount.path: mount for mount in mounts}

    @property
    def ports(self) -> dict[str, int]:
        """The ports it declares, by name."""
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}

    async def probe(self, name: str) -> int:
        """Ask what a probe asks, as the kubelet does: any certificate will do. Returns the status, 0 for no answer."""
        asked = self.container[name]["httpGet"]
        url = f"{asked['scheme'].lower()}://127.0.0.1:{self.ports[asked['port']]}{asked['path']}"
        connector = TCPConnector(ssl=_any_certificate())
        try:
            async with (
                ClientSession(connector=connector, timeout=ClientTimeout(total=5)) as session,
                session.get(url) as answer,
            ):
                return answer.status
        except OSError:
            return 0

    async def ready(self) -> None:
        """Wait until the readiness probe is content."""
        async with asyncio.timeout(PATIENCE):
            while await self.probe("readinessProbe") != 200:
                assert self.process.returncode is None, (await self.end())[1]
                await asyncio.sleep(0.1)

    async def get(self, path: str) -> Any:
        """Return the JSON at a path of the web port."""
        url = f"http://127.0.0.1:{self.ports['web']}{path}"
        async with ClientSession() as session, session.get(url) as answer:
            return await answer.json()

    def terminate(self) -> None:
        """Ask it to end, as the kubelet does."""
        self.process.terminate()

    async def end(self) -> tuple[int, str]:
        """Return the exit code and the log, once it has ended."""
        async with asyncio.timeout(PATIENCE):
            _, log = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, log.decode()

    def status(self) -> dict[str, str]:
        """Return what the kernel knows of the process (`/proc/<pid>/status`)."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return {key: " ".join(value.split()) for key, _, value in (line.partition(":") for line in text.splitlines())}

    def listening(self) -> set[int]:
        """Return the TCP ports it listens on."""
        folder = Path(f"/proc/{self.process.pid}")
        own = set()
        for file in (folder / "fd").iterdir():
            # A connection may end between the two looks; a port that is listened on stays.
            with suppress(FileNotFoundError):
                own.add(str(file.readlink()))
        tables = [(folder / "net" / name).read_text(encoding="utf-8").splitlines()[1:] for name in ("tcp", "tcp6")]
        sockets = [line.split() for table in tables for line in table]
        # Local address, state (0A: listening) and inode: proc(5).
        mine = [one[1] for one in sockets if one[3] == "0A" and f"socket:[{one[9]}]" in own]
        return {int(address.rpartition(":")[2], 16) for address in mine}


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@asynccontextmanager
async def running(
    objects: Objects,
    image: Image,
    folder: Path,
    *,
    given: Mapping[str, Files] | None = None,
    cluster: Cluster | None = None,
) -> AsyncIterator[Pod]:
    """Run the Deployment's pod; `given` are the Secrets and ConfigMaps that the chart does not make, by name."""
    spec = objects.one("Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    command, mounts = _prepared(objects, spec, container, image, folder=folder, given=given or {}, cluster=cluster)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Pod(process, container, mounts)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run_test_pod(
    objects: Objects, image: Image, folder: Path, *, given: Mapping[str, Files], url: str
) -> tuple[int, str]:
    """Run the pod of `helm test` to its end, against a URL in the place of the Service's; return code and output."""
    spec = objects.one("Pod")["spec"]
    (container,) = spec["containers"]
    container = container | {"env": [one | {"value": url} if one["name"] == "URL" else one for one in container["env"]]}
    command, _ = _prepared(objects, spec, container, image, folder=folder, given=given, cluster=None)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(PATIENCE):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def _prepared(
    objects: Objects,
    spec: Json,
    container: Json,
    image: Image,
    *,
    folder: Path,
    given: Mapping[str, Files],
    cluster: Cluster | None,
) -> tuple[list[str], list[Mount]]:
    volumes = {one["name"]: _volume(objects, one, spec, folder, given) for one in spec.get("volumes", [])}
    mounts = [
        Mount(volumes[one["name"]], one["mountPath"], one.get("readOnly", False))
        for one in container.get("volumeMounts", [])
    ]
    # No kubelet gives it its addresses: it shares its network with the agents, which are at loopback addresses.
    given_values = {one["name"]: one["value"] for one in container.get("env", []) if "value" in one}
    environment = {"HOSTNAME": "pod-1"} | given_values
    if cluster is not None and spec["automountServiceAccountToken"]:
        token = {"token": cluster.token, "ca.crt": cluster.ca_file.read_bytes(), "namespace": cluster.namespace}
        mounts.append(Mount(_projected(folder / "token", token, 0o644, _group(spec)), SERVICE_ACCOUNT))
        environment |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(cluster.port)}
    security = spec["securityContext"]
    command = image.command(
        container["args"],
        entry_point=container.get("command"),
        environment=environment,
        mounts=mounts,
        user=f"{security['runAsUser']}:{security['runAsGroup']}",
    )
    return command, mounts


def _group(spec: Json) -> int:
    group: int = spec["securityContext"]["fsGroup"]
    return group


def _volume(objects: Objects, volume: Json, spec: Json, folder: Path, given: Mapping[str, Files]) -> Path:
    place = folder / volume["name"]
    if "emptyDir" in volume:
        place.mkdir(parents=True)
        os.chown(place, 0, _group(spec))
        place.chmod(0o2777)
        return place
    if "configMap" in volume:
        name, mode = volume["configMap"]["name"], 0o644
        made = {one["metadata"]["name"]: one["data"] for one in objects.of("ConfigMap")}
    else:
        name, mode = volume["secret"]["secretName"], volume["secret"]["defaultMode"]
        made = {}
    files = {**made, **given}[name]
    wanted = volume.get("secret", {}).get("items") or [{"key": key, "path": key} for key in files]
    return _projected(place, {one["path"]: files[one["key"]] for one in wanted}, mode, _group(spec))


def _projected(place: Path, files: Files, mode: int, group: int) -> Path:
    """Write files as the kubelet does: behind a symbolic link that it turns when they change."""
    data = place / "..2026_01_01"
    data.mkdir(parents=True)
    (place / "..data").symlink_to(data.name)
    for name, content in files.items():
        file = data / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        os.chown(file, 0, group)
        file.chmod(mode)
        (place / name).symlink_to(f"..data/{name}")
    return place


def log_lines(log: str) -> list[Json]:
    """Return the lines of the exporter's log."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]
