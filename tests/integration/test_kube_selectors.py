"""One grammar of label selectors: what we read, a real API server reads alike."""

import random
from collections.abc import AsyncIterator, Mapping

import pytest

from exporter.kube.api import ApiError, Resource
from exporter.kube.client import KubeClient
from exporter.kube.selector import SelectorError, parse_selector
from tests.fakes.control_plane import Admin, ControlPlane

pytestmark = pytest.mark.slow

BAD_REQUEST = 400
PODS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "a-x": {"a": "x"},
    "a-empty": {"a": ""},
    "in-x": {"in": "x", "b": "y"},
    "notin": {"notin": "notin", "a": "in"},
    "agent": {"app.kubernetes.io/name": "matillion-agent"},
    "runner": {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "etl"},
    "script-runner": {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/component": "script-runner"},
}
SELECTORS = [
    "a=x", "a==x", "a = x", "a!=x", "a!= x", "a=", "a==", "a!=", "a", "!a", "! a", " a ", "a,b", "a,!b", "!a,!b",
    "a in (x)", "a in(x)", "a in(x,in)", "a notin(x)", "a\tin\r\n(x)", "a in ( x , in )", "in in (x)", "in", "!in",
    "notin notin (notin)", "notin=notin", "a=in", "a in ()", "a in (,)", "a in (x,)", "a in (,x)", "a in (x,,in)",
    "a in (x,,)", "a in (,,)", "a in (,,,)", "a in (x,,,)", "a in (x,,,in)", "a notin ()", "a notin (,)",
    "app.kubernetes.io/name in (matillion-agent,matillion-runner),!app.kubernetes.io/component",
    "app.kubernetes.io/name=matillion-runner", "a,", ",a", ",", "a b", "a=x y", "a==x=y", "a===x", "=x", "!", "!!a",
    "!a=x", "a in x", "a in", "a in (x", "a in x)", "a in (x y)", "a in (!x)", "(a)", "a=)", "a=(x)", "in(x)",
    "a!", "a!b", "a=!b", "-a", "a-", "A=x", "a/b/c", "/a", "a/", "X/a", "x.y/a", "x..y/a", "x-.y/a", "a=-x",
    "a=" + "v" * 63, "a=" + "v" * 64, "n" * 63, "n" * 64, "d" * 253 + "/n", "d" * 254 + "/n", "d" * 64 + ".e/n",
    "a\v=x", "a\u00a0=x", "\v", "ä", "a=ä", "a;b", "a=x;", "a.b", "a_b", "a=1.0", 'a="x"',
]  # fmt: skip


@pytest.fixture
async def listed(control_plane: ControlPlane, admin: Admin, namespace: str) -> AsyncIterator["Listing"]:
    """Make pods with many kinds of labels, and give who lists them."""
    for name, labels in PODS.items():
        await admin.create_pod(namespace, name, labels=labels)
    async with await KubeClient.connect({"KUBECONFIG": str(control_plane.kubeconfig)}) as client:
        yield Listing(client, Resource("", "v1", "pods", namespace))


class Listing:
    """What the API server makes of a selector."""

    def __init__(self, client: KubeClient, pods: Resource) -> None:
        self._client = client
        self._pods = pods

    async def by(self, selector: str) -> set[str] | None:
        """Return the names of the pods selected; None where the server refuses the selector."""
        try:
            page = await self._client.get(self._pods, [("labelSelector", selector)])
        except ApiError as error:
            if error.status != BAD_REQUEST:
                raise
            return None
        return {pod["metadata"]["name"] for pod in page["items"]}


def read_here(selector: str) -> set[str] | None:
    try:
        parsed = parse_selector(selector)
    except SelectorError:
        return None
    return {name for name, labels in PODS.items() if parsed.matches(labels)}


async def test_table_is_read_as_the_api_server_reads_it(listed: Listing) -> None:
    """Each selector is refused by both, or selects the same pods here and there."""
    there = {selector: await listed.by(selector) for selector in SELECTORS}
    assert {selector: read_here(selector) for selector in SELECTORS} == there
    assert None in there.values()


async def test_whatever_is_accepted_means_the_same_to_the_api_server(listed: Listing) -> None:
    """Random texts of the grammar's own words and signs."""
    rng = random.Random(15)  # noqa: S311 - it makes examples
    words = ["a", "b", "in", "notin", "x", "(", ")", ",", "=", "==", "!=", "!", " ", " in (", "a in", "a="]
    texts = {"".join(rng.choices(words, k=rng.randint(1, 8))) for _ in range(4000)}
    accepted = sorted(text for text in texts if read_here(text) is not None)
    refused = sorted(texts - set(accepted))[:150]
    assert len(accepted) > 100
    for text in (*accepted[:300], *refused):
        assert (text, read_here(text)) == (text, await listed.by(text))


async def test_what_is_refused_though_the_api_server_reads_it(listed: Listing) -> None:
    """Comparisons, which no page of Kubernetes offers, and a NUL, at which the server stops to read."""
    for text in ("a>1", "a<1", "a\x00", "a=x\x00,b"):
        assert await listed.by(text) is not None
        assert read_here(text) is None
