"""The ConfigMap of a fleet: names that are unique, and what is recognized as its own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.history.stored_fleet import (
    FLEET,
    INSTANCE_LABEL,
    NAMESPACE,
    ForeignConfigMapError,
    StoredFleet,
    filled,
    instance,
    name,
    selector,
)
from exporter.kube.api import Json

ETL = ("matillion", "etl")
NAME = "exporter-history-matillion-etl-19452bd70b"
DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

leases = st.from_regex(DNS_NAME, fullmatch=True).map(lambda text: text[:253].rstrip("-.") or "a")
labels = st.from_regex(LABEL_VALUE, fullmatch=True).map(lambda text: text[:63].rstrip("-_.") or "a")


def stored(**changes: str | None) -> Json:
    """Return a ConfigMap as the server has it, with other labels or annotations."""
    config_map = filled({"metadata": {"name": NAME}}, "exporter", ETL, {"2026-01-01": "0*288"})
    metadata = config_map["metadata"] | {"uid": "u1", "resourceVersion": "7"}
    for key, value in changes.items():
        where = metadata["labels" if key == "label" else "annotations"]
        full = {"label": INSTANCE_LABEL, "namespace": NAMESPACE, "fleet": FLEET}[key]
        where.pop(full)
        where |= {} if value is None else {full: value}
    return {**config_map, "metadata": metadata}


def test_a_name_shows_what_it_is_of() -> None:
    assert name("exporter", ETL) == NAME
    assert name("exporter", ("matillion", "My_Fleet.1")).startswith("exporter-history-matillion-my-fleet-1-")


@given(leases, labels, labels)
def test_every_name_is_a_name(lease: str, namespace: str, fleet: str) -> None:
    """Whatever the exporter and the fleet are called."""
    found = name(lease, (namespace, fleet))
    assert len(found) <= 253
    assert DNS_NAME.fullmatch(found)
    assert len(instance(lease)) <= 63
    assert LABEL_VALUE.fullmatch(instance(lease))
    assert selector(lease) == f"{INSTANCE_LABEL}={instance(lease)}"


def test_no_two_have_one_name() -> None:
    """Also where their parts could be taken apart in two ways, or differ beyond a name's length."""
    parts = [
        ("e", ("a", "b-c")),
        ("e", ("a-b", "c")),
        ("e-history-a", ("b", "c")),
        ("e", ("a", "history-b-c")),
        ("e", ("A", "b-c")),
        ("x" * 250, ("a", "b")),
        ("x" * 251, ("a", "b")),
    ]
    assert len({name(*part) for part in parts}) == len(parts)
    assert len({instance(lease) for lease, _ in parts}) == len({lease for lease, _ in parts})


def test_what_is_stored_can_be_recognized() -> None:
    found = StoredFleet.of(stored(), "exporter")
    assert found == StoredFleet(NAME, "u1", "7", ETL, {"2026-01-01": "0*288"})


@pytest.mark.parametrize(
    "config_map",
    [
        {},
        {"metadata": None, "data": []},
        {"metadata": {"name": 7, "annotations": {NAMESPACE: 5, FLEET: []}}},
        stored(fleet=None),
        stored(fleet="other"),
        stored(namespace="other"),
    ],
)
def test_what_is_something_else(config_map: Json) -> None:
    """It is of no fleet."""
    assert StoredFleet.of(config_map, "exporter").fleet is None
    assert StoredFleet.of(stored(), "another-exporter").fleet is None


def test_what_others_have_put_there_stays() -> None:
    """But for the entries themselves."""
    before = stored()
    before["metadata"]["labels"]["team"] = "etl"
    before["binaryData"] = {"x": "eA=="}
    after = filled(before, "exporter", ETL, {"2026-01-02": "1*288"})
    assert after["metadata"] == before["metadata"]
    assert (after["data"], after["binaryData"]) == ({"2026-01-02": "1*288"}, {"x": "eA=="})


def test_a_label_that_was_removed_is_put_back() -> None:
    """Without it, no replica would see the ConfigMap."""
    assert filled(stored(label=None), "exporter", ETL, {})["metadata"]["labels"] == {INSTANCE_LABEL: "exporter"}


@pytest.mark.parametrize("changes", [{"label": "another"}, {"fleet": "other"}, {"namespace": None}])
def test_a_config_map_of_something_else_is_not_filled(changes: dict[str, str | None]) -> None:
    """It may be of another exporter, or of a person."""
    with pytest.raises(ForeignConfigMapError, match=f"'{NAME}' is not the history of fleet 'etl'.*delete or rename it"):
        filled(stored(**changes), "exporter", ETL, {})
