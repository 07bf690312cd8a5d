"""The rendered Deployment and the program fit: started with exactly its arguments, environment, files and user."""

import json
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.chart.pods import Pod, log_lines, run_test_pod, running
from tests.chart.rendering import SCENARIOS, Chart, Objects
from tests.fakes.built_image import Image
from tests.fakes.certificate_authority import CertificateAuthority
from tests.fakes.ports import free_port

pytestmark = pytest.mark.slow

FAMILY = "matillion_fleet_exporter_build_info"
TARGETS = {"fleet-exporter-targets": {"targets.yaml": json.dumps([{"address": "127.90.0.1:9464", "fleet": "etl"}])}}


def rendered(chart: Chart, *, scenario: str = "static-targets", **values: Any) -> Objects:
    """Render an exporter of listed addresses, on a port that is free on this machine."""
    return chart.objects(
        SCENARIOS["static-targets"], SCENARIOS[scenario], config__web__listen=f"0.0.0.0:{free_port()}",
        config__discovery__kubernetes__enabled=False, config__leader_election__enabled=False, replicaCount=1, **values,
    )  # fmt: skip


async def fits(pod: Pod) -> None:
    """Check what holds for every pod: probes, ports, user, and that only what is to be written can be."""
    await pod.ready()
    assert await pod.probe("livenessProbe") == 200
    assert pod.listening() == set(pod.ports.values())
    status = pod.status()
    assert (status["Uid"], status["Gid"]) == ("65534 65534 65534 65534", "65534 65534 65534 65534")
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, 0, "1")


async def test_started_ready_and_ended(chart: Chart, image: Image, pod_folder: Path) -> None:
    """It becomes ready on its declared port, as user 65534 without rights, and ends well within its grace."""
    objects = rendered(chart)
    spec = objects.one("Deployment")["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    async with running(objects, image, pod_folder, given=TARGETS) as pod:
        await fits(pod)
        agents = await pod.get("/api/v1/agents")
        assert [(one["fleet"], one["address"]) for one in agents["agents"]] == [("etl", "127.90.0.1")]
        pod.terminate()
        code, log = await pod.end()
    assert code == 0
    events = [line["event"] for line in log_lines(log)]
    assert events[0] == "exporter starts", "it writes JSON, since no terminal is there"
    assert spec["terminationGracePeriodSeconds"] > 5


async def test_the_release_test_passes_and_fails(chart: Chart, image: Image, pod_folder: Path) -> None:
    """The pod of `helm test` is content with the exporter, and not with another server at its place."""
    objects = rendered(chart)
    async with running(objects, image, pod_folder / "exporter", given=TARGETS) as pod:
        await pod.ready()
        url = f"http://127.0.0.1:{pod.ports['web']}"
        code, said = await run_test_pod(objects, image, pod_folder / "good", given=TARGETS, url=url)
        assert (code, said.splitlines()) == (0, ["/readyz: 200", "/metrics: 200, as it should"])
        # What answers 200 to everything is not the exporter.
        stranger = f"{url}/healthz?asked="
        code, said = await run_test_pod(objects, image, pod_folder / "stranger", given=TARGETS, url=stranger)
        assert (code, said.splitlines()[-1]) == (1, f"/metrics: 200, but without {FAMILY}: another server answers")
        code, said = await run_test_pod(objects, image, pod_folder / "wrong", given=TARGETS, url=f"{url}/nowhere")
        assert code == 1
        assert "/nowhere/readyz: 404" in said


def secrets(folder: Path) -> dict[str, dict[str, bytes]]:
    """Return what the chart takes from Secrets: a certificate with its authority, a user and a token."""
    authority = CertificateAuthority(folder, "ca")
    names = ("fleet-exporter-matillion-fleet-exporter.matillion.svc",)
    certificate, private_key = authority.issue("web", names[0], hosts=names)
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    tls = {
        "tls.crt": certificate.read_bytes(),
        "tls.key": private_key.read_bytes(),
        "ca.crt": authority.certificate_file.read_bytes(),
    }
    return {
        "fleet-exporter-web": tls,
        "fleet-exporter-users": {"users": f"prometheus: {hashed}\n".encode()},
        "fleet-exporter-token": {"token": b"a-token-of-some-length-0123456789\n"},
    }


@pytest.mark.parametrize(
    ("values", "metrics"),
    [
        ({}, "/metrics: 403, as it should"),
        ({"web__tls__clientCertificates": False}, "/metrics: 200, as it should"),
        (
            {
                "web__tls__clientCertificates": False,
                "web__bearerToken__secretName": "",
                "prometheus__discovery": "none",
            },
            "/metrics: 401, as it should",
        ),
    ],
    ids=["client certificates", "token", "password"],
)
async def test_secured_web(
    *, chart: Chart, image: Image, pod_folder: Path, tmp_path: Path, values: dict[str, Any], metrics: str
) -> None:
    """The exporter reads its Secrets as its user; probes pass without credentials, and the release's test knows."""
    objects = rendered(chart, scenario="secured-web", **values)
    given = TARGETS | secrets(tmp_path)
    async with running(objects, image, pod_folder / "exporter", given=given) as pod:
        await fits(pod)
        url = f"https://127.0.0.1:{pod.ports['web']}"
        code, said = await run_test_pod(objects, image, pod_folder / "test", given=given, url=url)
    assert (code, said.splitlines()[-1]) == (0, metrics)
