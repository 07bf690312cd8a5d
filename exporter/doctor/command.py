"""`fleet-exporter doctor`: everything is checked at once, and a report printed."""

import argparse
import json
import os
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from exporter.config import LogSettings, Settings, load
from exporter.doctor import (
    agents,
    autoscaling,
    cloudwatch,
    cluster_autoscaler,
    configuration,
    disruption,
    draining,
    exporter_pods,
    fargate,
    forecast,
    karpenter,
    keda,
    kubernetes,
    lookalikes,
    pod_failures,
    replicas,
    workloads,
)
from exporter.doctor.check import Check, Once, run_all
from exporter.doctor.environment import Environment, environment
from exporter.doctor.report import Report, document, text
from exporter.doctor.scan import scan
from exporter.kube.credentials import SERVICE_ACCOUNT
from exporter.logs import configure
from exporter.terminal import Paper

MOUNTED = Path("/etc/fleet-exporter/config/config.yaml")
"""Where the chart mounts the settings, so that in the exporter's pod none need be named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    where = f"settings file (YAML); defaults to {MOUNTED} in the chart's pod; environment variables override it"
    parser.add_argument("--config", type=Path, metavar="FILE", help=where)
    parser.add_argument("--json", action="store_true", help="print a JSON document")


def doctor(options: argparse.Namespace) -> Coroutine[Any, Any, bool]:
    """Return what checks everything, prints the report, and returns whether nothing failed. Raises ConfigError."""
    file = options.config
    if file is None and MOUNTED.is_file():
        file = MOUNTED
    settings = load(file, os.environ)
    # What the parts themselves would log is in the report; a bug is still logged.
    configure(LogSettings(level="error"))
    return _doctor(settings, file, as_json=options.json)


async def _doctor(settings: Settings, file: Path | None, *, as_json: bool) -> bool:
    report = await examine(settings, file, os.environ)
    if as_json:
        print(json.dumps(document(report), indent=2))
    else:
        print(text(report, Paper.of(sys.stdout, os.environ)), end="")
    return report.good


async def examine(
    settings: Settings, file: Path | None, environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT
) -> Report:
    """Run every check that the settings ask for; `file` is what they were read from."""
    async with environment(settings, environ, service_account) as env:
        return Report(await run_all(_checks(env, file)))


def _checks(env: Environment, file: Path | None) -> list[Check]:
    scanned = Once(lambda: scan(env))
    return [
        *configuration.checks(env, file),
        *kubernetes.checks(env),
        *exporter_pods.checks(env, scanned),
        *fargate.checks(env, scanned),
        *pod_failures.checks(env),
        *agents.checks(env),
        *lookalikes.checks(env, scanned),
        *disruption.checks(env),
        *draining.checks(env),
        *cluster_autoscaler.checks(env),
        *karpenter.checks(env),
        *autoscaling.checks(env),
        *workloads.checks(env),
        *replicas.checks(env),
        *keda.checks(env),
        *cloudwatch.checks(env),
        *forecast.checks(env),
    ]
