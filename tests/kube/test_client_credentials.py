"""Where the login comes from, and what is said when there is none."""

import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent

import pytest
from aiohttp import web
from kubernetes_asyncio.client import ApiClient, Configuration

from exporter.kube.api import CredentialsError, Resource, UnreachableError
from exporter.kube.client import KubeClient
from tests.fakes.certificate_authority import CertificateAuthority
from tests.fakes.kube_api import ScriptedKubeApi, kubeconfig, page, reply, status

PODS = Resource("", "v1", "pods", "matillion")


async def secure_server(folder: Path) -> tuple[web.AppRunner, int, CertificateAuthority, list[str]]:
    logins: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        logins.append(request.headers["Authorization"])
        return web.json_response({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": []})

    authority = CertificateAuthority(folder, "cluster-ca")
    certificate, key = authority.issue("server", "server", hosts=("127.0.0.1",))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    return runner, runner.addresses[0][1], authority, logins


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[tuple[dict[str, str], Path, list[str]]]:
    """Give what a pod has: environment, mounted service account; and the logins that the API server saw."""
    runner, port, authority, logins = await secure_server(tmp_path)
    account = tmp_path / "serviceaccount"
    account.mkdir()
    (account / "token").write_text("pod-token")
    (account / "ca.crt").write_bytes(authority.certificate_file.read_bytes())
    yield {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}, account, logins
    await runner.cleanup()


async def test_in_a_pod_its_service_account_is_used(pod: tuple[dict[str, str], Path, list[str]]) -> None:
    """Token and CA are those the kubelet mounts, over verified TLS."""
    environ, account, logins = pod
    async with await KubeClient.connect(environ, account) as client:
        await client.get(PODS)
    assert logins == ["Bearer pod-token"]


async def test_wrong_ca_is_refused(pod: tuple[dict[str, str], Path, list[str]], tmp_path: Path) -> None:
    """A server whose certificate the CA did not sign gets no token."""
    environ, account, logins = pod
    other = tmp_path / "other"
    other.mkdir()
    (account / "ca.crt").write_bytes(CertificateAuthority(other, "other-ca").certificate_file.read_bytes())
    async with await KubeClient.connect(environ, account) as client:
        with pytest.raises(UnreachableError, match="certificate"):
            await client.get(PODS)
    assert logins == []


@pytest.mark.parametrize("broken", ["token", "ca.crt"])
async def test_broken_service_account_names_what_to_check(
    pod: tuple[dict[str, str], Path, list[str]], broken: str
) -> None:
    """An empty token or CA is found at the start, with the pod's settings to look at."""
    environ, account, _ = pod
    (account / broken).write_text("")
    with pytest.raises(CredentialsError, match="automountServiceAccountToken"):
        await KubeClient.connect(environ, account)


async def test_ca_that_is_no_certificate_is_named(pod: tuple[dict[str, str], Path, list[str]]) -> None:
    """A CA file with anything else in it is found at the start."""
    environ, account, _ = pod
    (account / "ca.crt").write_text("not a certificate")
    with pytest.raises(CredentialsError, match="Cannot use the certificates for https://127"):
        await KubeClient.connect(environ, account)


async def test_token_that_cannot_be_read_again_is_a_matter_of_credentials() -> None:
    """When a rotated token has vanished, the text says so instead of blaming the network."""

    def vanished(_: Configuration) -> None:
        raise FileNotFoundError("no token any more")

    settings = Configuration(api_key={"BearerToken": "Bearer old"})
    settings.refresh_api_key_hook = vanished
    async with KubeClient(ApiClient(settings)) as client:
        with pytest.raises(CredentialsError, match="the token cannot be reloaded: no token any more"):
            await client.get(PODS)


async def test_no_credentials_at_all(tmp_path: Path) -> None:
    """Outside a pod and without a kubeconfig, the text says where was looked and what to set."""
    with pytest.raises(CredentialsError, match=r"no kubeconfig at .*/none:.*/neither.*Set KUBECONFIG"):
        await KubeClient.connect({"KUBECONFIG": f"{tmp_path}/none:{tmp_path}/neither"}, tmp_path)


@pytest.mark.parametrize(
    "content", ["", "[]", "clusters: {", "current-context: gone\nclusters: []\ncontexts: []\nusers: []"]
)
async def test_unusable_kubeconfig_is_named(tmp_path: Path, content: str) -> None:
    """Whatever is wrong in a kubeconfig is one error that names the file."""
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(CredentialsError, match=f"Cannot use the kubeconfig {file}"):
        await KubeClient.connect({"KUBECONFIG": str(file)}, tmp_path)


async def test_run_out_credentials_are_fetched_again_and_the_request_repeated(
    api: ScriptedKubeApi, tmp_path: Path
) -> None:
    """When the server no longer takes the token, the exec plugin is asked for another, unseen by who asked."""
    count = tmp_path / "count"
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        dedent(f"""
        import json, pathlib
        count = pathlib.Path({str(count)!r})
        n = int(count.read_text()) + 1 if count.exists() else 1
        count.write_text(str(n))
        print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                          "status": {{"token": f"token-{{n}}"}}}}))
        """)
    )
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": [str(plugin)]}}
    api.kubeconfig.write_text(json.dumps(kubeconfig(api.url, user)))
    api.script(lists=[page(), reply(401, status(401)), page()])
    async with await api.client() as client:
        await client.get(PODS)
        await client.get(PODS)
    assert [request.headers["Authorization"] for request in api.requests] == [
        "Bearer token-1",
        "Bearer token-1",
        "Bearer token-2",
    ]


async def test_failing_plugin_is_named(api: ScriptedKubeApi) -> None:
    """What an exec plugin complains of is handed on."""
    script = "import sys; sys.exit('please log in')"
    user = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": ["-c", script]}
    }
    api.kubeconfig.write_text(json.dumps(kubeconfig(api.url, user)))
    with pytest.raises(CredentialsError, match="please log in"):
        await api.client()


def test_library_is_loaded_only_to_connect() -> None:
    """Importing the rooms that use Kubernetes does not load the 35 MB library."""
    code = "import sys, exporter.discovery.pods; sys.exit('kubernetes_asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
