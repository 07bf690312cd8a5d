"""The rules of a Lease, pure, and how it is read and written over HTTP."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.kube.api import AccessDeniedError, ApiError, Json
from exporter.kube.client import KubeClient
from exporter.kube.lease import UNFIT_ANNOTATION, Action, LeaseError, LeaseRecord, LeaseStore, claimed, decide, released
from tests.fakes.kube_api import ScriptedKubeApi, reply, status

ME = "pod-a_1"
NOW = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)

identities = st.sampled_from(["", ME, "pod-a_2", "pod-b_1"])
seconds = st.floats(0, 1e9)
texts = st.text(max_size=5)
records = st.builds(
    LeaseRecord,
    holder=identities,
    duration=st.none() | st.integers(1, 3600),
    acquired=texts,
    renewed=texts,
    transitions=st.integers(0, 2**31 - 1),
)
json_values = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.lists(st.integers())
wall_times = st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 — hypothesis adds the zone


def lease(holder: str = "pod-b_1", version: str = "7", **spec: object) -> Json:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "exporter", "namespace": "m", "resourceVersion": version, "labels": {"team": "data"}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "r", **spec},
    }


@given(record=records, observed_at=seconds, waited=seconds, duration=st.floats(1, 3600))
def test_another_holder_is_never_disturbed_within_its_duration(
    record: LeaseRecord, observed_at: float, waited: float, duration: float
) -> None:
    """A lease that another holds is taken when its record has not changed for its whole duration, and not before."""
    now = observed_at + waited
    patience = duration if record.duration is None else record.duration
    action = decide(record, observed_at, now, ME, duration)
    if record.holder == ME:
        assert action is Action.RENEW
    elif not record.holder:
        assert action is Action.TAKE
    else:
        assert action is (Action.TAKE if now - observed_at >= patience else Action.STAND_BY)


@given(record=records, observed_at=seconds, now=seconds, shift=seconds, duration=st.floats(1, 3600))
def test_times_in_the_record_decide_nothing(
    record: LeaseRecord, observed_at: float, now: float, shift: float, duration: float
) -> None:
    """Whatever another machine's clock wrote, the decision is the same."""
    elsewhere = LeaseRecord(record.holder, record.duration, "1970-01-01T00:00:00Z", "9999-01-01T00:00:00Z", 5)
    assert decide(record, observed_at, now, ME, duration) is decide(elsewhere, observed_at, now, ME, duration)


@given(record=records, observed_at=seconds, first=seconds, later=seconds, duration=st.floats(1, 3600))
def test_what_may_be_taken_stays_free(
    record: LeaseRecord, observed_at: float, first: float, later: float, duration: float
) -> None:
    """Silence never makes a holder more alive."""
    if decide(record, observed_at, observed_at + first, ME, duration) is Action.TAKE:
        assert decide(record, observed_at, observed_at + first + later, ME, duration) is Action.TAKE


@given(record=records, observed_at=seconds, now=seconds)
def test_two_candidates_never_both_own_a_record(record: LeaseRecord, observed_at: float, now: float) -> None:
    """The same record tells at most one candidate to renew."""
    actions = [decide(record, observed_at, now, me, 15) for me in (ME, "pod-b_1")]
    assert actions.count(Action.RENEW) <= 1


@given(record=records, observed_at=seconds, waited=seconds, duration=st.floats(1, 3600))
def test_an_unfit_candidate_leaves_a_free_lease_to_others_for_a_while(
    record: LeaseRecord, observed_at: float, waited: float, duration: float
) -> None:
    """It takes one only after it has been free for a lease's duration, and renews its own at any time."""
    now, before = observed_at + waited, observed_at + waited - duration
    unfit = decide(record, observed_at, now, ME, duration, fit=False)
    if record.holder == ME:
        assert unfit is Action.RENEW
    elif waited < duration:
        assert unfit is Action.STAND_BY
    elif unfit is Action.TAKE and record.holder:
        assert now - observed_at >= duration, "the holder's own time comes first"
        assert decide(record, observed_at, before + 1e-3 * (1 + before), ME, duration) is Action.TAKE
    assert decide(record, observed_at, now + 2 * 3600 + duration + 1e-3 * (1 + now), ME, duration, fit=False) in {
        Action.TAKE,
        Action.RENEW,
    }


@given(annotations=st.none() | st.dictionaries(texts, texts), fit=st.booleans(), before=st.booleans())
def test_the_lease_shows_whether_its_holder_is_fit(
    annotations: dict[str, str] | None, *, fit: bool, before: bool
) -> None:
    """Each claim says it anew, and touches nobody else's annotations; a lease of another program says that it is."""
    held = lease()
    if annotations is not None:
        held["metadata"]["annotations"] = annotations
    assert LeaseRecord.of(held).fit
    after = claimed(claimed(held, ME, 15.0, NOW, fit=before), ME, 15.0, NOW, fit=fit)
    assert LeaseRecord.of(after).fit is fit
    left = {name: text for name, text in after["metadata"].get("annotations", {}).items() if name != UNFIT_ANNOTATION}
    assert left == (annotations or {})


def test_lease_never_seen_is_free() -> None:
    """Where there was never a lease, there is nobody to wait for."""
    assert decide(None, float("-inf"), 0.0, ME, 15) is Action.TAKE


@given(holder=identities, duration=st.floats(1, 3600), wall=wall_times, again=st.timedeltas(timedelta(), timedelta(1)))
def test_every_renewal_changes_the_record(holder: str, duration: float, wall: datetime, again: timedelta) -> None:
    """Each write differs from the one before, also when the wall clock stands still: a change is the sign of life."""
    first = claimed(lease(holder), ME, duration, wall)
    second = claimed(first, ME, duration, wall + again)
    third = claimed(second, ME, duration, wall + again)
    written = [LeaseRecord.of(each) for each in (first, second, third)]
    assert written[0] != written[1] != written[2]
    assert {record.holder for record in written} == {ME}
    assert all(record.duration is not None and 0 <= record.duration - duration < 1 for record in written)
    assert len({(record.acquired, record.transitions) for record in written}) == 1, "a renewal is no new term"


def test_taking_counts_a_transition_and_leaves_the_rest_of_the_object() -> None:
    """A new holder gets its own time and the next number; labels, version and unknown fields stay."""
    before = lease(strategy="OldestEmulationVersion", leaseTransitions=4, acquireTime="a")
    after = claimed(before, ME, 15.0, NOW)
    assert after["metadata"] == before["metadata"]
    assert after["spec"] == {
        "holderIdentity": ME,
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-03-01T12:00:00.000250Z",
        "renewTime": "2026-03-01T12:00:00.000250Z",
        "leaseTransitions": 5,
        "strategy": "OldestEmulationVersion",
    }
    assert before["spec"]["holderIdentity"] == "pod-b_1", "what was read is not changed"


def test_released_lease_is_free_at_once() -> None:
    """Giving up leaves no holder and one second, and keeps the count of transitions."""
    after = released(lease(ME, leaseTransitions=4), NOW)
    record = LeaseRecord.of(after)
    assert (record.holder, record.duration, record.transitions) == ("", 1, 4)
    assert decide(record, 0.0, 0.0, "pod-b_1", 15) is Action.TAKE


@given(spec=json_values | st.dictionaries(texts, json_values), fields=st.data())
def test_any_json_reads_as_a_record(spec: object, fields: st.DataObject) -> None:
    """Odd types are unknown, not errors; an unknown duration is none, so that the reader's own counts."""
    names = ("holderIdentity", "leaseDurationSeconds", "renewTime", "leaseTransitions")
    if isinstance(spec, dict):
        spec |= {name: fields.draw(json_values) for name in names}
    record = LeaseRecord.of({"spec": spec})
    assert record.duration is None or record.duration > 0
    assert isinstance(record.holder, str)


async def test_store_reads_creates_and_replaces(api: ScriptedKubeApi, client: KubeClient) -> None:
    """A missing lease is None; a new one is created in its namespace, a stored one replaced in its version."""
    store = LeaseStore(client, "m", "exporter", 1.0)
    first = claimed(store.new(), ME, 15, NOW)
    second = claimed(lease(ME), ME, 15, NOW)
    answers = [reply(404, status(404, "NotFound")), reply(200, lease()), reply(201, _stored(first)), reply(200, second)]
    api.script(lists=answers)
    assert await store.read() is None
    assert await store.read() == lease()
    assert (await store.write(first))["metadata"]["resourceVersion"] == "8"
    await store.write(second)
    leases = "/apis/coordination.k8s.io/v1/namespaces/m/leases"
    assert [(request.method, request.path) for request in api.requests] == [
        ("GET", f"{leases}/exporter"),
        ("GET", f"{leases}/exporter"),
        ("POST", leases),
        ("PUT", f"{leases}/exporter"),
    ]


@pytest.mark.parametrize("answer", [{}, {"kind": "Status"}, {"kind": "Lease", "metadata": {}}, lease("pod-b_1")])
async def test_good_status_alone_is_no_renewal(answer: Json, api: ScriptedKubeApi, client: KubeClient) -> None:
    """A 200 whose body is not the lease as it was written, as a proxy may give, does not count."""
    api.script(lists=[reply(200, answer)])
    with pytest.raises(LeaseError):
        await LeaseStore(client, "m", "exporter", 1.0).write(claimed(lease(ME), ME, 15, NOW))


async def test_refusals_are_logged(api: ScriptedKubeApi, client: KubeClient) -> None:
    """Conflicts and missing permissions come as the errors they are; the rule to grant has all the verbs."""
    store = LeaseStore(client, "m", "exporter", 1.0)
    api.script(lists=[reply(409, status(409, "Conflict")), reply(403, status(403, "Forbidden"))])
    with pytest.raises(ApiError) as conflict:
        await store.write(lease(ME))
    assert conflict.value.status == 409
    with pytest.raises(AccessDeniedError, match=r'"leases"\], verbs: \["get"\]'):
        await store.read()
    assert (
        '{apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "create", "update"]}' in store.grant
    )


def _stored(written: Json) -> Json:
    return {**written, "metadata": {**written["metadata"], "resourceVersion": "8"}}
