"""Addresses that no agent has: whoever rules a node writes the addresses of its pods."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config import DEFAULT_ENDPOINTS, ScrapeSettings
from exporter.discovery.pod_addresses import POD_IPS, off_limits, own_addresses
from exporter.discovery.pod_facts import PodReader
from exporter.fleet.explain import explain
from exporter.fleet.model import AgentState, IgnoredPod, Target
from exporter.fleet.policy import Policy
from exporter.scrape.client import PageClient
from exporter.scrape.poller import Poller
from exporter.store.snapshots import SnapshotStore
from tests.fakes.background import background
from tests.fakes.hostile import HostileServer, page
from tests.fakes.kube_pods import LABEL, raw_pod
from tests.waiting import eventually

GOLDEN = Path(__file__).parents[1] / "golden" / "chart" / "default.yaml"

NEVER = {
    "169.254.169.254": "link-local",
    "169.254.170.23": "link-local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "::ffff:169.254.169.254": "link-local",
    "fd00:ec2::254": "of AWS' services on the node",
    "fd00:ec2::23": "of AWS' services on the node",
    "224.0.0.1": "a multicast address",
    "ff02::1": "a multicast address",
    "0.0.0.0": "unspecified",
    "::": "unspecified",
}
NO_ADDRESS = ["metadata.google.internal", "169.254.43518", "0xA9FEA9FE", "10.0.3.7 ", "10.0.3.7/x", "\x1b[2J" * 100]
AGENTS = ["10.0.3.7", "100.64.8.1", "192.168.7.7", "240.0.0.9", "2600:1f13::7", "fd12::7", "127.0.0.1"]


def reader(*own: str) -> PodReader:
    return PodReader(LABEL, DEFAULT_ENDPOINTS, lambda _uid, _ready, _transition: -1000.0, own=own)


@pytest.mark.parametrize(("address", "kind"), NEVER.items())
def test_addresses_that_no_agent_has(address: str, kind: str) -> None:
    """Metadata of the instance, credentials of EKS Pod Identity, everybody and nobody, however they are spelled."""
    assert off_limits(address) == f"its address {address} is {kind}, which no agent has: it is never scraped"


@pytest.mark.parametrize("address", NO_ADDRESS)
def test_what_is_no_address_is_not_resolved(address: str) -> None:
    """A name would be looked up, and may lead anywhere; what is shown of it is short and harmless."""
    reason = off_limits(address)
    assert reason is not None
    assert reason.isprintable()
    assert len(reason) < 100


@pytest.mark.parametrize("address", AGENTS)
def test_addresses_of_agents(address: str) -> None:
    """Private, shared, class E and IPv6 addresses are; loopback ones where the exporter is no pod, as in the demo."""
    assert off_limits(address) is None


@pytest.mark.parametrize("address", ["10.0.3.7", "::ffff:10.0.3.7", "fd12::7", "FD12:0::7", "127.0.0.1", "::1"])
def test_the_exporters_own_addresses(address: str) -> None:
    """In a pod, both of its addresses and those of its loopback interface are its own."""
    own = own_addresses({POD_IPS: "10.0.3.7, fd12::7"})
    assert off_limits(address, own) == f"its address {address} is this exporter's own"
    assert off_limits("10.0.3.8", own) is None


@pytest.mark.parametrize("environ", [{}, {POD_IPS: ""}, {POD_IPS: " , "}])
def test_outside_a_pod_there_is_no_own_address(environ: dict[str, str]) -> None:
    """An empty variable is none."""
    assert own_addresses(environ) == frozenset()


def test_the_exporters_own_pod_is_no_agent() -> None:
    """A selector that is too wide finds the chart's own pod: it has neither an agent's port nor its variable."""
    objects = yaml.safe_load_all(GOLDEN.read_text(encoding="utf-8"))
    template = next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]
    pod: dict[str, Any] = raw_pod("exporter", labels=template["metadata"]["labels"], spec=template["spec"])
    assert isinstance(reader().read(pod), IgnoredPod)


async def test_an_agent_at_such_an_address_is_unreachable_and_nothing_connects() -> None:
    """It is shown with the reason, and counts as one that does not respond: it makes no fleet smaller."""
    loop = asyncio.get_running_loop()
    store = SnapshotStore(Policy(), monotonic=loop.time, wall=lambda: 1_709_300_000.0)
    settings = ScrapeSettings.model_validate({"interval": 0.2, "timeout": 0.2})
    observed: list[str] = []

    class Observer:
        def scraped(self, outcome: str, seconds: float, rejected_lines: int) -> None:
            observed.append(outcome)

    async with HostileServer(page()) as server, PageClient(settings) as client:
        pod = raw_pod(status={"podIP": "127.0.0.1"})
        pod["spec"]["containers"][0]["ports"] = [{"containerPort": server.port, "name": "otel-metrics"}]
        own, other = reader("10.0.3.7").read(pod), reader().read(pod | {"metadata": raw_pod("agent-2")["metadata"]})
        assert isinstance(own, Target)
        assert isinstance(other, Target)
        poller = Poller(settings, store, client, Observer(), monotonic=loop.time, phases=random.Random(1))  # noqa: S311
        async with background(poller.run()):
            store.expect(["kubernetes"])
            store.replace("kubernetes", [own])
            await eventually(lambda: "off_limits" in observed)
            assert server.connections == 0
            store.replace("kubernetes", [other])
            await eventually(lambda: "ok" in observed)
            assert server.connections == 1
        store.replace("kubernetes", [own])
        store.failed(own, own.off_limits or "", seconds=0.0)
    (fleet,) = store.fleets()
    (agent,) = fleet.agents
    assert agent.state is AgentState.UNREACHABLE
    assert ": its address 127.0.0.1 is this exporter's own" in explain(agent, loop.time(), 1_709_300_000.0)
    assert fleet.coverage == 0.0
