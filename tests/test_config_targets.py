"""The file of static targets: what is read, what is refused, and in which words."""

from pathlib import Path

import pytest

from exporter.config import (
    ConfigError,
    StaticTarget,
    load_targets,
)
from tests.configuration import ADDRESS, report


def test_a_file_of_targets_is_yaml_or_json(write) -> None:
    """The same shape in both."""
    expected = (StaticTarget(address="10.0.0.1", fleet="f"),)
    assert load_targets(write("- {address: 10.0.0.1, fleet: f}")) == expected
    assert load_targets(write('[{"address": "10.0.0.1", "fleet": "f"}]')) == expected
    assert load_targets(write("[]")) == ()


TWICE = '"default/default/a" (namespace/fleet/pod) is already listed at [0]'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "null is not a list of targets; write [] for none"),
        ("a: 1", "a mapping is not a list of targets; write [] for none"),
        ("[{address: ''}]", f'line 1: [0].address: "" is not {ADDRESS}; it names no host'),
        ("[{}]", f"line 1: [0].address: this is required: {ADDRESS}"),
        ("[5]", "line 1: [0]: 5 is not a mapping of keys to values"),
        ("[{address: a}, {address: a}]", f"line 1: [1]: {TWICE}"),
        ("[{address: a, fleat: f}]", "line 1: [0].fleat: unknown key; did you mean fleet?"),
    ],
)  # fmt: skip
def test_a_bad_file_of_targets_is_refused_with_places_in_it(write, text: str, expected: str) -> None:
    """Paths begin at the list."""
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load_targets(path)
    assert str(caught.value) == f"{path}: {expected}"


def test_a_bad_file_of_targets_is_found_when_the_settings_are_loaded(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As is a target that stands in the settings as well."""
    # A message shortens a long path.
    monkeypatch.chdir(tmp_path)
    targets = write("[{address: a},\n{address: ''}]", "targets.yaml")
    config = write("discovery: {static: {file: targets.yaml}}")
    assert report(config).startswith(
        'line 1: discovery.static.file: "targets.yaml" cannot be used: line 2: [1].address: "" is not'
    )
    targets.write_text("[{address: b}, {address: a}]")
    config.write_text(f"discovery: {{static: {{file: {targets}, targets: [{{address: a}}]}}}}")
    assert report(config) == (
        'line 1: discovery.static.file: [1] "default/default/a" is already listed in discovery.static.targets'
    )
