"""Renders the chart with the real helm and finds its way about the objects."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.fakes.helm import CHART, Tool

Json = dict[str, Any]

RELEASE, NAMESPACE = "fleet-exporter", "matillion"
SCENARIOS = {file.name.removesuffix("-values.yaml"): file for file in sorted((CHART / "ci").glob("*-values.yaml"))}


class Objects(list[Json]):
    """Kubernetes objects of a render."""

    def of(self, kind: str) -> list[Json]:
        """Return those of a kind."""
        return [one for one in self if one["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> Json:
        """Return the only one of a kind (and name)."""
        (found,) = (one for one in self.of(kind) if name in (None, one["metadata"]["name"]))
        return found

    @property
    def config(self) -> Json:
        """The exporter's settings in the ConfigMap."""
        settings: Json = yaml.safe_load(self.one("ConfigMap", RELEASE_NAME)["data"]["config.yaml"])
        return settings

    @property
    def pod_specs(self) -> Iterator[tuple[str, Json]]:
        """Every pod's spec, with the name of what makes it."""
        for one in self:
            if one["kind"] == "Deployment":
                yield one["metadata"]["name"], one["spec"]["template"]["spec"]
            if one["kind"] == "Pod":
                yield one["metadata"]["name"], one["spec"]

    @property
    def container(self) -> Json:
        """The exporter's container."""
        (container,) = self.one("Deployment")["spec"]["template"]["spec"]["containers"]
        found: Json = container
        return found


RELEASE_NAME = f"{RELEASE}-matillion-fleet-exporter"
"""What objects are called: the release's name does not contain the chart's."""


class Chart:
    """The chart, and the helm that renders it."""

    def __init__(self, helm: Tool, namespace: str = NAMESPACE) -> None:
        self._helm = helm
        self._namespace = namespace
        self._texts: dict[str, str] = {}
        self._objects: dict[str, Objects] = {}

    def scenario_text(self, name: str) -> str:
        """Return the render of a scenario in `ci`, which is made once."""
        if name not in self._texts:
            self._texts[name] = self.text(SCENARIOS[name])
        return self._texts[name]

    def scenario(self, name: str) -> Objects:
        """Return the objects of a scenario in `ci`."""
        if name not in self._objects:
            self._objects[name] = parse(self.scenario_text(name))
        return self._objects[name]

    def text(self, *files: Path, **values: Any) -> str:
        """Render with files of values and values by dotted path; fails with what helm says."""
        done = self.attempt(*files, **values)
        assert done[0], done[1]
        return done[1]

    def objects(self, *files: Path, **values: Any) -> Objects:
        """Render, and read what came out."""
        return parse(self.text(*files, **values))

    def attempt(self, *files: Path, apis: Iterable[str] = (), **values: Any) -> tuple[bool, str]:
        """Render; return whether it went well, and the text or what helm says is wrong. `__` parts a path's keys.

        `apis` are those of the cluster's besides Kubernetes' own. Values that are no files of a test's own
        are rendered once for all tests.
        """
        arguments = ["template", RELEASE, CHART, "--namespace", self._namespace]
        for api in apis:
            arguments += ["--api-versions", api]
        for file in files:
            arguments += ["--values", file]
        for path, value in values.items():
            arguments += ["--set-json", f"{path.replace('__', '.')}={json.dumps(value)}"]
        done = (self._helm.once if {file.parent for file in files} <= {CHART / "ci"} else self._helm)(*arguments)
        return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr

    def notes(self, *files: Path, **values: Any) -> str:
        """Return what an installation would tell its user."""
        arguments = ["install", RELEASE, CHART, "--namespace", self._namespace, "--dry-run=client", "--hide-secret"]
        for file in files:
            arguments += ["--values", file]
        for path, value in values.items():
            arguments += ["--set-json", f"{path.replace('__', '.')}={json.dumps(value)}"]
        return self._helm.good(*arguments).partition("\nNOTES:\n")[2]


def parse(text: str) -> Objects:
    """Read rendered YAML strictly: a key that stands twice is an error."""
    return Objects(one for one in yaml.load_all(text, Loader=_Strict) if one is not None)


class _Strict(yaml.CSafeLoader):
    pass


def _mapping(loader: _Strict, node: yaml.MappingNode) -> Json:
    keys = [loader.construct_object(key) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"a key stands twice among {keys}"
    return loader.construct_mapping(node, deep=True)


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def reviewed(text: str) -> str:
    """Return what of a render is to be looked at.

    Without the generated certificate, which is another one each time, without the checksum of the settings, which stand
    beside it, and without the rules and dashboards, which are copies.
    """
    text = re.sub(r"(ca\.crt|tls\.crt|tls\.key|caBundle): LS0t[A-Za-z0-9+/=]+", r"\1: GENERATED", text)
    text = re.sub(r"(checksum/config): [0-9a-f]{64}", r"\1: SHA-256", text)
    text = re.sub(r'(renew-after): "[0-9]+"', r'\1: "UNIX-TIME"', text)
    documents = text.split("\n---\n")
    for index, document in enumerate(documents):
        if re.search(r"# Source: .*/(rules|dashboards)\.yaml", document):
            documents[index] = re.sub(r"(?ms)^(spec|data):\n.*", r"\1: COPIED", document)
    return "\n---\n".join(documents)
