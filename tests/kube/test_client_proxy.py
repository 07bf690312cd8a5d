"""The way to the API server: through a proxy or not, and nothing of the environment but that."""

import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from exporter.kube.api import CredentialsError, Resource
from exporter.kube.client import KubeClient
from tests.fakes.answering import answering
from tests.fakes.kube_api import ScriptedKubeApi, kubeconfig, page

PODS = Resource("", "v1", "pods", "matillion")
AWAY = "http://api.cluster.example:6443"
"""Cannot be reached but through a proxy: the name does not exist (RFC 2606)."""
NO_PODS = {"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": []}


class Proxy:
    """Answers in place of each host, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.passwords: list[str | None] = []
        self.url = ""

    async def note(self, request: web.Request, _: web.StreamResponse) -> None:
        """Keep what a request asks for."""
        self.asked.append(request.raw_path)
        self.passwords.append(request.headers.get("Proxy-Authorization"))


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """Serve a proxy; the environment names none yet."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    served = Proxy()
    async with answering(200, json.dumps(NO_PODS), "application/json", prepare=served.note) as served.url:
        yield served


def config(folder: Path, url: str, **cluster: str) -> dict[str, str]:
    """Write a kubeconfig, and return the environment that names it."""
    made = kubeconfig(url, {"token": "secret"})
    made["clusters"][0]["cluster"] |= cluster
    (folder / "config").write_text(yaml.safe_dump(made))
    return {"KUBECONFIG": str(folder / "config")}


@pytest.mark.parametrize("spelled", ["HTTP_PROXY", "http_proxy"])
async def test_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy: Proxy, spelled: str
) -> None:
    """A cluster that is behind a proxy is reached through it."""
    monkeypatch.setenv(spelled, proxy.url)
    async with await KubeClient.connect(config(tmp_path, AWAY)) as client:
        await client.get(PODS)
    assert proxy.asked == [f"{AWAY}/api/v1/namespaces/matillion/pods"]


async def test_a_proxy_without_a_scheme_and_with_a_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy: Proxy
) -> None:
    """The scheme may be left out, as for kubectl; a user and a password go to the proxy alone."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("http://", "someone:secret@"))
    async with await KubeClient.connect(config(tmp_path, AWAY)) as client:
        await client.get(PODS)
    assert proxy.passwords == ["Basic c29tZW9uZTpzZWNyZXQ="]


async def test_a_proxy_of_another_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy: Proxy) -> None:
    """What is not supported is said at the start, without the proxy's password."""
    monkeypatch.setenv("HTTP_PROXY", "socks5://someone:secret@127.0.0.1:1080")
    with pytest.raises(CredentialsError, match=r"socks5:// one, but must be http://.*NO_PROXY") as refused:
        await KubeClient.connect(config(tmp_path, AWAY))
    assert "secret" not in str(refused.value)


async def test_hosts_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, api: ScriptedKubeApi, tmp_path: Path, proxy: Proxy
) -> None:
    """NO_PROXY leaves out the API server, as a pod that publishes through a proxy has it."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "10.0.0.1,127.0.0.1")
    async with await KubeClient.connect(config(tmp_path, api.url)) as client:
        await client.get(PODS)
    assert proxy.asked == []


async def test_the_proxy_of_the_kubeconfig_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy: Proxy
) -> None:
    """As kubectl has it, `proxy-url` is for this cluster, and the environment for all else."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with await KubeClient.connect(config(tmp_path, AWAY, **{"proxy-url": proxy.url})) as client:
        await client.get(PODS)
    assert len(proxy.asked) == 1


async def test_a_request_takes_no_thread(
    monkeypatch: pytest.MonkeyPatch, api: ScriptedKubeApi, tmp_path: Path, proxy: Proxy
) -> None:
    """Neither the proxy nor ~/.netrc is searched for at each request, and no password from there is sent."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password secret\n")
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return await page()(request)

    api.script([answer])
    api.kubeconfig.write_text(yaml.safe_dump(kubeconfig(api.url, {})))
    async with await KubeClient.connect({"KUBECONFIG": str(api.kubeconfig)}) as client:
        threads = set(threading.enumerate())
        for _ in range(3):
            await client.get(PODS)
        assert set(threading.enumerate()) == threads
    assert seen == [None] * 3
