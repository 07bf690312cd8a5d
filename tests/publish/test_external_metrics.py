"""The external metrics API over real TLS, as kube-aggregator and the HPA speak to it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.config.settings import ExternalMetricsSettings
from exporter.fleet.model import Fleet
from exporter.publish.external_metrics import ExternalMetricsServer
from exporter.publish.external_metrics_values import EXTERNAL_METRICS
from exporter.serve.errors import ServeError
from tests.factories import NOW, WALL_NOW, make_facts, make_fleet, make_snapshot
from tests.fakes.aggregation import BASE, DEMAND, HPA, View, World, aggregated, demand, exchange
from tests.waiting import PATIENCE

AGGREGATOR = "system:kube-aggregator"


def busy(name: str, tasks: float, namespace: str = "matillion") -> Fleet:
    """Return a fleet of one agent with so many tasks, read one second ago."""
    return make_fleet(
        [make_snapshot(tasks_active=tasks, namespace=namespace, fleet=name)], name=name, namespace=namespace
    )


def unseen(name: str) -> Fleet:
    """Return a fleet of which no agent answers."""
    facts = make_facts(ready_since=NOW - 3600)
    return make_fleet([make_snapshot(f"{name}-1", fleet=name, never_read=True, facts=facts)], name=name)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Run the API over a cluster of two fleets in one namespace and one in another."""
    fleets = [busy("prod", 16.5), busy("test", 3), busy("prod", 7, "other")]
    async with aggregated(tmp_path, fleets, cluster="eu-1") as running:
        yield running


def assert_status(answer: Any, code: int, reason: str) -> str:
    """Check that an error is a Kubernetes Status in all its parts; return its message."""
    body = answer.json
    assert answer.status == code, body
    message = body.pop("message")
    assert body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "code": code,
    }
    assert "Retry-After" not in answer.headers, "a client of Kubernetes would wait and ask again by itself"
    return str(message)


# -- discovery ---------------------------------------------------------------------------------------------------------


async def test_discovery_lists_every_metric(world: World) -> None:
    """The aggregator's probe gets the list of resources, as HPA and kubectl know them."""
    answer = await world.ask(BASE, AGGREGATOR)
    assert answer.status == 200
    assert answer.json == {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "external.metrics.k8s.io/v1beta1",
        "resources": [
            {
                "name": name,
                "singularName": "",
                "namespaced": True,
                "kind": "ExternalMetricValueList",
                "verbs": ["get"],
            }
            for name in EXTERNAL_METRICS
        ],
    }
    assert not world.control.reviews, "a probe is no question to the API server"


async def test_the_group_and_what_is_not_offered(world: World) -> None:
    """The group names its one version; aggregated discovery is answered with 404, which sends clients to the above."""
    group = (await world.ask("/apis/external.metrics.k8s.io", AGGREGATOR)).json
    assert group["preferredVersion"] == {"groupVersion": "external.metrics.k8s.io/v1beta1", "version": "v1beta1"}
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    answer = await world.ask("/apis", AGGREGATOR, headers={"Accept": accept})
    assert "/apis" in assert_status(answer, 404, "NotFound")


async def test_openapi_documents_stand_and_are_sent_once(world: World) -> None:
    """Both forms describe the list with references that resolve; who has a document already gets no second copy."""
    index = (await world.ask("/openapi/v3", "system:aggregator")).json
    v3_path = index["paths"]["apis/external.metrics.k8s.io/v1beta1"]["serverRelativeURL"]
    for path, version, schemas in (
        ("/openapi/v2", ("swagger", "2.0"), ("definitions",)),
        (v3_path, ("openapi", "3.0.0"), ("components", "schemas")),
    ):
        answer = await world.ask(path, "system:aggregator")
        document = answer.json
        assert document[version[0]] == version[1]
        assert f"{BASE}/namespaces/{{namespace}}/{{metric}}" in document["paths"]
        for reference in references(document):
            target = document
            for part in reference.removeprefix("#/").split("/"):
                target = target[part]
            assert target["type"] == "object"
        for part in schemas:
            document = document[part]
        assert {name.rpartition(".")[2] for name in document} == {"ExternalMetricValue", "ExternalMetricValueList"}
        again = await world.ask(path, "system:aggregator", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.text) == (304, "")


def references(document: Any) -> list[str]:
    """Return every `$ref` in a document."""
    if isinstance(document, dict):
        own = [document["$ref"]] if "$ref" in document else []
        return own + [reference for value in document.values() for reference in references(value)]
    return [reference for value in document for reference in references(value)] if isinstance(document, list) else []


async def test_the_kubelet_needs_no_certificate(world: World) -> None:
    """Health is told to everybody; ready is who can answer."""
    bare = world.bare_context()
    assert (await world.ask("/healthz", None, context=bare)).status == 200
    assert (await world.ask("/readyz", None, context=bare)).status == 200
    world.view.reason = "first scrape round: 3 agents left"
    answer = await world.ask("/readyz", None, context=bare)
    assert (answer.status, answer.text) == (503, "first scrape round: 3 agents left\n")
    assert not world.counter.codes, "the kubelet's questions are not counted"


# -- values ------------------------------------------------------------------------------------------------------------


async def test_the_hpa_reads_the_demand(world: World) -> None:
    """One fleet, as the HPA asks for it: canonical quantity, labels, and the time of the reading."""
    answer = await world.ask(demand(selector="fleet%3Dprod"))
    assert answer.status == 200
    assert answer.json == {
        "kind": "ExternalMetricValueList",
        "apiVersion": "external.metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": [
            {
                "metricName": DEMAND,
                "metricLabels": {"fleet": "prod", "cluster": "eu-1"},
                "timestamp": "2026-01-01T02:29:59Z",
                "value": "16500m",
            }
        ],
    }
    assert world.view.wall_now() == WALL_NOW
    assert world.control.reviews == [
        {
            "user": HPA,
            "groups": ["system:authenticated"],
            "resourceAttributes": {
                "verb": "list",
                "group": "external.metrics.k8s.io",
                "version": "v1beta1",
                "resource": DEMAND,
                "namespace": "matillion",
            },
        }
    ]


@pytest.mark.parametrize(
    ("selector", "values"),
    [
        (None, ["16500m", "3"]),
        ("", ["16500m", "3"]),
        ("fleet=test", ["3"]),
        ("fleet==test", ["3"]),
        ("fleet!=test", ["16500m"]),
        ("fleet in (test, prod)", ["16500m", "3"]),
        ("fleet notin (prod)", ["3"]),
        ("fleet,cluster=eu-1,!zone", ["16500m", "3"]),
        ("fleet=prod,cluster!=us-1", ["16500m"]),
    ],
)
async def test_selectors(world: World, selector: str | None, values: list[str]) -> None:
    """Every form of a selector chooses among the fleets of the namespace, and of no other."""
    async with world.session() as session:
        params = {} if selector is None else {"labelSelector": selector}
        async with session.get(demand(), params=params, headers={"X-Remote-User": HPA}) as response:
            assert response.status == 200
            assert [item["value"] for item in (await response.json())["items"]] == values


async def test_other_namespaces_are_not_seen(world: World) -> None:
    """A fleet of the same name elsewhere is another fleet; a namespace without one has nothing to say."""
    assert [item["value"] for item in (await world.ask(demand("other"))).json["items"]] == ["7"]
    message = assert_status(await world.ask(demand("kube-system")), 404, "NotFound")
    assert message == "no fleet is known in namespace 'kube-system'"


@pytest.mark.parametrize("selector", ["fleet%3D%3D%3Dx", "fleet%20in%20prod", "%3Dx", "fleet%3Da%20b", "a" * 5000])
async def test_a_bad_selector_is_a_bad_request(world: World, selector: str) -> None:
    """What is no selector is refused, and never taken for one that chooses everything."""
    message = assert_status(await world.ask(demand(selector=selector)), 400, "BadRequest")
    assert message.startswith("the label selector ")


@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ("labelSelector=fleet&labelSelector=x", 400, "BadRequest"),
        ("fieldSelector=metadata.name%3Dprod", 400, "BadRequest"),
        ("watch=true", 405, "MethodNotAllowed"),
    ],
)
async def test_what_would_need_another_answer_is_refused(world: World, query: str, code: int, reason: str) -> None:
    """A question that is not understood whole gets no answer to a part of it."""
    assert_status(await world.ask(f"{demand()}?{query}"), code, reason)


async def test_a_fleet_that_is_not_known_is_an_error(world: World) -> None:
    """No match is 404 with what there is: the HPA holds, where an empty list or a 0 would shrink the fleet."""
    message = assert_status(await world.ask(demand(selector="fleet%3Dgone")), 404, "NotFound")
    assert "prod, test" in message


async def test_an_untrusted_fleet_spoils_every_sum_it_is_in(world: World) -> None:
    """The HPA adds items up: where one fleet cannot be trusted there is no answer, but the others have theirs."""
    world.view.shown = [unseen("dark"), busy("prod", 16.5)]
    for metric in EXTERNAL_METRICS:
        message = assert_status(
            await world.ask(demand(selector="fleet%3Ddark", metric=metric)), 503, "ServiceUnavailable"
        )
        assert "only 0 of 1 agents respond" in message
    assert_status(await world.ask(demand()), 503, "ServiceUnavailable")
    assert (await world.ask(demand(selector="fleet%3Dprod"))).status == 200


async def test_an_error_ends_its_connection(world: World) -> None:
    """The API server keeps a connection for all its questions: after an error it makes a new one, to any replica."""
    world.view.shown = [unseen("dark"), busy("prod", 16.5)]
    address, context = world.server.address, world.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert address is not None
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    tls = writer.get_extra_info("ssl_object")
    assert tls.selected_alpn_protocol() is None, "HTTP/2, which has no such header, is not offered"

    async def ask(fleet: str) -> bytes:
        head = f"GET {demand(selector=f'fleet%3D{fleet}')} HTTP/1.1\r\nHost: x\r\nX-Remote-User: {HPA}\r\n\r\n"
        writer.write(head.encode())
        return (await reader.readuntil(b"\r\n\r\n")).lower()

    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            head = await ask("prod")
            assert head.startswith(b"http/1.1 200")
            assert b"connection: close" not in head
            await reader.readuntil(b"\n")
        head = await ask("dark")
        assert head.startswith(b"http/1.1 503")
        assert b"connection: close" in head
        assert b"only 0 of 1 agents respond" in await reader.read()
    writer.close()


async def test_before_the_first_round_there_is_no_answer(world: World) -> None:
    """As long as not every agent was asked once, figures would be too low."""
    world.view.reason = "first scrape round: 2 agents left"
    message = assert_status(await world.ask(demand()), 503, "ServiceUnavailable")
    assert message == "not ready yet: first scrape round: 2 agents left"


async def test_a_metric_that_does_not_exist(world: World) -> None:
    """An unknown name is 404 with those that there are, once the user may ask for it."""
    message = assert_status(await world.ask(demand(metric="no_such_metric")), 404, "NotFound")
    assert "matillion_fleet_utilization_percent" in message


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD"])
async def test_there_is_nothing_to_change(world: World, method: str) -> None:
    """Only GET is offered."""
    answer = await world.ask(demand(), method=method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET"


@pytest.mark.parametrize("path", ["/", "/metrics", "/api", BASE + "/", demand() + "/extra", f"{BASE}/{DEMAND}"])
async def test_other_paths_hold_nothing(world: World, path: str) -> None:
    """What is not offered is a 404 Status."""
    assert_status(await world.ask(path), 404, "NotFound")


async def test_a_bug_is_an_error_too(world: World) -> None:
    """An exception nobody foresaw is a 500 Status, logged, and the next request is served."""
    world.view.failing = RuntimeError("boom")
    with capture_logs() as logs:
        message = assert_status(await world.ask(demand()), 500, "InternalError")
    assert "boom" not in message
    assert [entry["log_level"] for entry in logs] == ["error"]
    world.view.failing = None
    assert (await world.ask(demand())).status == 200


async def test_answers_are_counted_by_status(world: World) -> None:
    """Every answer to somebody who asks the API counts."""
    for path in (demand(), demand(), demand("nowhere"), "/nothing"):
        await world.ask(path)
    await world.ask(demand(), "eve")
    await world.ask(demand(), context=world.bare_context())
    assert world.counter.codes == {200: 2, 404: 2, 403: 1, 401: 1}


async def test_the_log_has_changes_only(world: World) -> None:
    """One line when a scaler begins to get an answer, one when it gets none any more, and why."""
    with capture_logs() as logs:
        for _ in range(3):
            await world.ask(demand())
        world.view.shown = [unseen("prod")]
        for _ in range(3):
            await world.ask(demand())
        world.view.shown = [busy("prod", 1)]
        await world.ask(demand())
    assert [entry["event"] for entry in logs] == [
        "external metric is served",
        "external metric request is rejected",
        "external metric is served",
    ]
    assert (logs[1]["status"], logs[1]["metric"], logs[1]["user"]) == (503, DEMAND, HPA)
    assert "only 0 of 1 agents respond" in logs[1]["reason"]


@pytest.mark.slow
async def test_hundreds_of_requests_on_few_connections(world: World) -> None:
    """Connections are kept between requests, and many of them at once are all answered."""
    async with world.session() as session:
        answers = await asyncio.gather(*(exchange(session, demand()) for _ in range(300)))
    assert {answer.status for answer in answers} == {200}
    assert len(world.control.reviews) == 1


# -- the socket --------------------------------------------------------------------------------------------------------


async def test_plain_http_gets_nothing(world: World) -> None:
    """Who speaks no TLS gets no answer, and costs no more than its connection."""

    def speak() -> bytes:
        address = world.server.address
        assert address is not None
        with socket.create_connection((address.host, address.port), timeout=PATIENCE) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                return plain.recv(1000)
            except ConnectionError:
                return b""

    assert b"HTTP/1.1" not in await asyncio.to_thread(speak)
    assert (await world.ask(demand())).status == 200


async def test_without_a_certificate_it_does_not_start(tmp_path: Path, world: World) -> None:
    """A missing setting and a missing file are each one sentence."""
    settings = ExternalMetricsSettings.model_validate({"enabled": True})
    with pytest.raises(ServeError, match="external_metrics needs cert_file and key_file"):
        ExternalMetricsServer(settings, None, View(), object(), world.counter)  # type: ignore[arg-type]
    settings = ExternalMetricsSettings.model_validate(
        {"enabled": True, "cert_file": str(tmp_path / "none"), "key_file": str(world.key_file)}
    )
    server = ExternalMetricsServer(settings, None, View(), object(), world.counter)  # type: ignore[arg-type]
    with pytest.raises(ServeError, match=r"external_metrics\.cert_file: cannot read .*none: No such file"):
        await server.run()


async def test_a_taken_port_is_one_sentence(world: World) -> None:
    """The message names the setting to change."""
    given = {"enabled": True, "cert_file": str(world.cert_file), "key_file": str(world.key_file)}
    settings = ExternalMetricsSettings.model_validate({**given, "listen": str(world.server.address)})
    server = ExternalMetricsServer(settings, None, View(), object(), world.counter)  # type: ignore[arg-type]
    with pytest.raises(
        ServeError, match=r"another process listens on this address; stop it or change external_metrics\.listen"
    ):
        await server.run()
