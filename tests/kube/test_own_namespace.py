"""Which namespace is this process's own, and what is said when that cannot be known."""

import json
from pathlib import Path

import pytest

from exporter.kube.api import CredentialsError
from exporter.kube.credentials import own_namespace
from tests.fakes.kube_api import kubeconfig


def write_kubeconfig(folder: Path, namespace: str | None) -> Path:
    config = kubeconfig("http://127.0.0.1:1", {"token": "t"})
    if namespace:
        config["contexts"][0]["context"]["namespace"] = namespace
    file = folder / f"{namespace}.kubeconfig"
    file.write_text(json.dumps(config))
    return file


def test_in_a_pod_it_is_the_pods(tmp_path: Path) -> None:
    """The kubelet writes the namespace beside the token."""
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("matillion\n")
    assert own_namespace({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path) == "matillion"


def test_pod_without_its_namespace_file_is_an_error(tmp_path: Path) -> None:
    """A service account that is mounted in part is an error with the file's name."""
    (tmp_path / "token").write_text("t")
    with pytest.raises(CredentialsError, match="namespace"):
        own_namespace({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)


@pytest.mark.parametrize(("given", "expected"), [("team-a", "team-a"), (None, "default")])
def test_outside_a_pod_the_current_context_has_it(given: str | None, expected: str, tmp_path: Path) -> None:
    """The kubeconfig's current context names a namespace, or means `default`, as for kubectl."""
    file = write_kubeconfig(tmp_path, given)
    assert own_namespace({"KUBECONFIG": str(file)}, tmp_path) == expected


def test_broken_kubeconfig_is_named(tmp_path: Path) -> None:
    """A file that is no kubeconfig is an error with its path."""
    file = tmp_path / "broken"
    file.write_text("[")
    with pytest.raises(CredentialsError, match="broken"):
        own_namespace({"KUBECONFIG": str(file)}, tmp_path)
