"""How the API server is recognised, and on whose behalf it asks; from a scripted API server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from multidict import CIMultiDict
from structlog.testing import capture_logs

from exporter.kube.api import Json, KubeError
from exporter.kube.client import KubeClient
from exporter.kube.front_proxy import (
    FrontProxy,
    FrontProxyError,
    FrontProxySource,
    User,
    common_name,
    expired,
)
from tests.fakes.background import background
from tests.fakes.certificates import Authority
from tests.fakes.kube_api import ScriptedKubeApi, reply, status
from tests.waiting import eventually

PEM = Authority("front-proxy-ca").pem.decode()
DATA = {
    "client-ca-file": "not ours to read",
    "requestheader-client-ca-file": PEM,
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-username-headers": '["X-Remote-User","X-Other-User"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
}


def config_map(**changes: str | None) -> Json:
    """Make the ConfigMap; None takes a key out. Keys are given without their prefix."""
    data = DATA | {f"requestheader-{key.replace('_', '-')}": value for key, value in changes.items()}
    return {"kind": "ConfigMap", "data": {key: value for key, value in data.items() if value is not None}}


def test_reads_what_the_api_server_wrote() -> None:
    """Authorities, names and headers are taken as they stand."""
    proxy = FrontProxy.of(config_map(uid_headers='["X-Remote-Uid"]'))
    assert proxy.client_cas == PEM
    assert proxy.allowed_names == {"front-proxy-client"}
    assert (proxy.user_headers, proxy.group_headers) == (("X-Remote-User", "X-Other-User"), ("X-Remote-Group",))
    assert (proxy.extra_prefixes, proxy.uid_headers) == (("X-Remote-Extra-",), ("X-Remote-Uid",))


@pytest.mark.parametrize(
    ("object_", "reason"),
    [
        ({}, "it has no data"),
        ({"data": {}}, "requestheader-client-ca-file holds no certificate"),
        (config_map(client_ca_file="hello"), "holds no certificate"),
        (config_map(client_ca_file="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "no certificate"),
        (config_map(username_headers=None), "names no header"),
        (config_map(username_headers="[]"), "names no header"),
        (config_map(allowed_names="front-proxy-client"), "requestheader-allowed-names is not a JSON list"),
        (config_map(allowed_names='{"a": 1}'), "is not a JSON list"),
        (config_map(allowed_names="[" * 5000), "is not a JSON list"),
        (config_map(group_headers="[1]"), "requestheader-group-headers is not a JSON list"),
    ],
)
def test_what_cannot_be_used(object_: Json, reason: str) -> None:
    """A ConfigMap that does not say how to recognise the API server is refused as a whole."""
    with pytest.raises(FrontProxyError, match=reason):
        FrontProxy.of(object_)


def test_names() -> None:
    """Only listed names are allowed; where none is listed, every one is, as Kubernetes defines it."""
    assert FrontProxy.of(config_map()).allows("front-proxy-client")
    assert not FrontProxy.of(config_map()).allows("kubernetes-admin")
    assert not FrontProxy.of(config_map()).allows("")
    assert FrontProxy.of(config_map(allowed_names="[]")).allows("anybody")
    assert FrontProxy.of(config_map(allowed_names=None)).allows("anybody")


def test_user_groups_and_extra_come_from_the_headers() -> None:
    """Every group counts, header names have no case, and the names of extras are unescaped."""
    headers = CIMultiDict(
        [
            ("x-remote-user", "system:serviceaccount:kube-system:hpa"),
            ("X-Remote-Group", "system:serviceaccounts"),
            ("x-remote-group", "system:authenticated"),
            ("X-Remote-Extra-Example.com%2Fscope", "b"),
            ("X-Remote-Extra-Example.com%2Fscope", "a"),
            ("X-Unrelated", "x"),
        ]
    )
    assert FrontProxy.of(config_map()).user(headers) == User(
        "system:serviceaccount:kube-system:hpa",
        ("system:serviceaccounts", "system:authenticated"),
        "",
        (("example.com/scope", ("b", "a")),),
    )


def test_no_user_is_no_identity() -> None:
    """Without a name there is no user, whatever else is said; the second header stands in for the first."""
    proxy = FrontProxy.of(config_map())
    assert proxy.user(CIMultiDict({"X-Remote-Group": "system:masters"})) is None
    assert proxy.user(CIMultiDict({"X-Remote-User": ""})) is None
    assert proxy.user(CIMultiDict({"X-Remote-User": "", "X-Other-User": "eve"})) == User("eve")


def test_certificate_details() -> None:
    """The last common name counts, as in Kubernetes' own servers; a certificate ends at its second."""
    subject = ((("organizationName", "o"),), (("commonName", "first"),), (("commonName", "last"),))
    assert common_name({"subject": subject}) == "last"
    assert common_name({"subject": ()}) == ""
    certificate = {"notAfter": "Jan  1 00:00:00 2026 GMT"}
    assert not expired(certificate, 1_767_225_600.0)
    assert expired(certificate, 1_767_225_600.5)


class Used:
    """Takes what the source hands over, or refuses it."""

    def __init__(self) -> None:
        self.taken: list[FrontProxy] = []
        self.refuse = False
        self.refused = 0

    async def __call__(self, proxy: FrontProxy) -> None:
        if self.refuse:
            self.refused += 1
            raise KubeError("not now")
        self.taken.append(proxy)


@pytest.fixture
async def kube(api: ScriptedKubeApi) -> AsyncIterator[KubeClient]:
    async with await api.client() as client:
        yield client


@asynccontextmanager
async def following(kube: KubeClient, used: Used, **times: Any) -> AsyncIterator[None]:
    source = FrontProxySource(kube, used, **{"read_again": 0.02, "retry_first": 0.02, **times})
    async with background(source.run()):
        yield


def events(logs: list[Any]) -> list[str]:
    return [entry["event"] for entry in logs]


async def test_a_change_is_handed_over_once(api: ScriptedKubeApi, kube: KubeClient) -> None:
    """What stays the same is no news; what changes is, in the log too."""
    used = Used()
    api.script([reply(200, config_map())])
    with capture_logs() as logs:
        async with following(kube, used):
            await eventually(lambda: len(api.requests) > 5)
            assert len(used.taken) == 1
            api.script([reply(200, config_map(allowed_names='["new"]'))])
            await eventually(lambda: len(used.taken) == 2)
    assert [sorted(proxy.allowed_names) for proxy in used.taken] == [["front-proxy-client"], ["new"]]
    assert events(logs) == ["front proxy configured", "front proxy configuration changed"]
    assert api.requests[0].path == "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


@pytest.mark.parametrize(
    "trouble",
    [
        reply(503, status(503, "ServiceUnavailable")),
        reply(200, {"kind": "ConfigMap", "data": {}}),
        reply(200, "<html>", after=0.0),
        reply(404, status(404, "NotFound")),
    ],
    ids=["down", "senseless", "proxy", "gone"],
)
async def test_the_last_good_stays(api: ScriptedKubeApi, kube: KubeClient, trouble: Any) -> None:
    """Whatever comes instead of the ConfigMap, the settings in use stay, and the log says so once."""
    used = Used()
    api.script([reply(200, config_map())])
    with capture_logs() as logs:
        async with following(kube, used):
            await eventually(lambda: used.taken)
            api.script([trouble])
            asked = len(api.requests)
            await eventually(lambda: len(api.requests) > asked + 5)
            api.script([reply(200, config_map())])
            await eventually(lambda: "front proxy configuration can be read again" in events(logs))
    assert len(used.taken) == 1
    assert events(logs).count("front proxy configuration cannot be read, the last valid one stays in use") == 1


async def test_a_missing_permission_is_named(api: ScriptedKubeApi, kube: KubeClient) -> None:
    """A service account that may not read the ConfigMap learns which Role to bind, and is let in once it is."""
    used = Used()
    api.script([reply(403, status(403, "Forbidden"))])
    with capture_logs() as logs:
        async with following(kube, used):
            await eventually(lambda: len(api.requests) > 3)
            assert not used.taken
            api.script([reply(200, config_map())])
            await eventually(lambda: used.taken)
    told = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [entry["event"] for entry in told] == ["front proxy configuration cannot be read, all requests are denied"]
    assert "extension-apiserver-authentication-reader" in told[0]["fix"]


async def test_what_could_not_be_put_in_use_is_tried_again(api: ScriptedKubeApi, kube: KubeClient) -> None:
    """While the user of the settings cannot take them, they are offered again and again."""
    used = Used()
    used.refuse = True
    api.script([reply(200, config_map())])
    async with following(kube, used):
        await eventually(lambda: used.refused > 2)
        used.refuse = False
        await eventually(lambda: used.taken)
    assert len(used.taken) == 1


async def test_the_second_attempt_comes_soon(api: ScriptedKubeApi, kube: KubeClient) -> None:
    """Before the first good answer the pauses are short, however long they are after it."""
    used = Used()
    api.script([reply(503, status(503)), reply(503, status(503)), reply(200, config_map())])
    async with following(kube, used, read_again=3600.0):
        await eventually(lambda: used.taken)
    assert len(api.requests) == 3
