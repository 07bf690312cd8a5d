"""What reads text that comes from outside, each with texts that would cost a careless reader a multiple of their size.

A row names the regular expressions that it runs, as `path:name` below `exporter`.
"""

import io
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from exporter import logs, terminal
from exporter.aws.endpoints import managed_prometheus_region
from exporter.config.addresses import parse_agent_address
from exporter.config.durations import parse_duration
from exporter.config.environment import read_environment
from exporter.config.line_pattern import LinePattern
from exporter.config.loading import load_targets
from exporter.config.problems import Problem, dotted, shown
from exporter.config.settings import ForecastSettings, KubernetesSettings, ProtectionSettings
from exporter.config.yaml_source import parse_yaml
from exporter.discovery.pod_facts import PodReader
from exporter.discovery.scaler_facts import read_scaler
from exporter.doctor.cluster_autoscaler import is_cluster_autoscaler
from exporter.doctor.keda import _of_label
from exporter.fleet.dialect import AGENT_FAMILIES, NotAnAgentError, NoTaskCountError, interpret
from exporter.fleet.exposition import read
from exporter.fleet.protection import read_mark
from exporter.history.encoding import decode
from exporter.history.stored_fleet import name as config_map_name
from exporter.kube.fields import line
from exporter.kube.lease import LeaseRecord
from exporter.kube.quantity import parse_quantity
from exporter.kube.selector import parse_selector
from exporter.kube.times import go_duration, unix_time
from exporter.plan.csv_past import parsed
from exporter.plan.errors import PlanError
from exporter.podhealth.log_lines import MAX_SEARCHED_BYTES, LineParser
from exporter.publish.datum import Datum
from exporter.publish.fleet_datums import Baseline
from exporter.publish.last_readings import Note
from exporter.serve.errors import ServeError
from exporter.status.alike import alike
from exporter.web.passwords import parse_users
from exporter.web.runbooks import PLACEHOLDERS, chosen


@dataclass(frozen=True, slots=True)
class Row:
    """One reader and the texts to try it on."""

    name: str
    read: Callable[[str], object]
    """Raises nothing."""
    texts: Sequence[Callable[[int], str]]
    """Of a number of characters, nearly."""
    runs: tuple[str, ...] = ()
    """The regular expressions that it runs."""
    size: int = 4096
    """Characters of the smaller text; the larger one has four times as many."""


def refused(read: Callable[[str], object], *errors: type[Exception]) -> Callable[[str], object]:
    """Return the reader without the errors that it is to raise for bad text."""

    def call(text: str) -> object:
        with suppress(ValueError, RecursionError, *errors):
            return read(text)

    return call


def of(*units: str, before: str = "", after: str = "") -> tuple[Callable[[int], str], ...]:
    """Return texts that repeat each of these units."""
    return tuple(lambda size, unit=unit: before + unit * (size // len(unit)) + after for unit in units)


def numbered(form: str) -> Callable[[int], str]:
    """Return a text of lines with numbers."""
    return lambda size: "".join(form.format(number) for number in range(size // len(form)))


def page(text: str) -> object:
    """Read a metrics page."""
    try:
        return interpret(read(text.encode(), AGENT_FAMILIES))
    except (NotAnAgentError, NoTaskCountError):
        return None


def targets(text: str) -> object:
    """Read the file of static targets."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "targets.yaml"
        file.write_text(text, encoding="utf-8")
        return str(load_targets(file))


def lines(search: Callable[[bytes], object]) -> Callable[[str], object]:
    """Return a reader of each line of a text, as far as a line is searched."""
    return lambda text: [search(one.encode()[:MAX_SEARCHED_BYTES]) for one in text.split("\n")]


def pod(text: str) -> object:
    """Read a pod that has the text in each of its fields, and a field for each word."""
    words = text.split(" ")[:20_000]
    entries = [{"name": word, "value": word, "containerPort": word, "type": word, "message": text} for word in words]
    named = {"name": text, "env": entries, "ports": entries, "image": text, "resources": {"limits": {"memory": text}}}
    raw = {
        "metadata": {
            "name": text,
            "namespace": text,
            "uid": text,
            "labels": dict.fromkeys(words, text),
            "ownerReferences": entries,
            "annotations": {"kubectl.kubernetes.io/default-container": text},
            "deletionTimestamp": text,
        },
        "spec": {"containers": [named, {"name": "agent", "env": [{"name": "AGENT_ID"}]}]},
        "status": {"conditions": entries, "containerStatuses": entries, "message": text, "startTime": text},
    }
    reader = PodReader(text, (), lambda uid, ready, unix: None)
    is_cluster_autoscaler(
        {"metadata": {"labels": {"app": text}}, "spec": {"template": {"spec": {"containers": [named]}}}}
    )
    _of_label({"metadata": {"labels": {"app.kubernetes.io/version": text}}})
    return reader.read(raw), reader.facts(raw, named)


def lease(text: str) -> object:
    """Read a Lease and an HPA that have the text in each field."""
    LeaseRecord.of({"spec": dict.fromkeys(("holderIdentity", "acquireTime", "renewTime"), text)})
    reference = {"kind": text, "name": text, "apiVersion": text}
    metrics = [{"type": "External", "external": {"metric": {"name": word}}} for word in text.split(" ")]
    condition = {"type": "ScalingActive", "status": "False", "reason": text, "message": text}
    return read_scaler(
        {
            "metadata": {"name": text, "namespace": text, "labels": {"a": text}},
            "spec": {"scaleTargetRef": reference, "metrics": metrics, "minReplicas": 1, "maxReplicas": 2},
            "status": {"conditions": [condition], "desiredReplicas": 1, "currentReplicas": 1},
        }
    )


def event(text: str) -> object:
    """Log an event with the text in it, as JSON and as a line for a person."""
    given: dict[str, Any] = {"event": text, "reason": text, text: text, "token": text, "listed": [text, {"a": text}]}
    masked: Any = logs.mask_secrets(None, "", given)
    return logs.ConsoleLine(colours=False, dated=False)(None, "", logs._escape_control_characters(None, "", masked))


def reasons(text: str) -> object:
    """Group agents by their reasons."""
    agents = [{"namespace": "n", "fleet": "f", "state": "s", "reason": reason} for reason in (text, text + "1", text)]
    return [(group.reason, len(group.agents)) for group in alike(agents)]


def settings(text: str) -> object:
    """Set what takes text, through the environment and directly."""
    for build in (
        lambda: read_environment({f"FLEET_EXPORTER__{text}": text, "FLEET_EXPORTER__SCRAPE__INTERVAL": text}),
        lambda: KubernetesSettings(namespaces=[text], label_selector=text, fleet_label=text),
        lambda: ForecastSettings(prometheus_url=text),
        lambda: ProtectionSettings(pod_annotations={text: text}),
        lambda: Problem((text, 1, text), text, text),
    ):
        with suppress(ValueError):
            str(build())
    return None


_yaml_words = of(
    "a", "a ", "a\n", "a: b\n", "- a\n", "a:\n ", "#", "\n", " ", "'", '"', "1", "1_", "1.", "%a ", "!a ", "- &a b\n"
)
_nested = of("[", "{", "- ", "? ", "a: {", "[[],")
_pasted = of("a", "a@", "@", "/", "://", '"', "a\n", "é", "user:secret@host/")
_addresses = of("1.", "1", ":", "a.", "a", "-", "[", "]:", "a:")
_sentences = of("1", "1.", "1.5 s ", "7 min", " ", "0 ", "a1b", "10.0.0.1:9464 ", "é ")

ROWS: Sequence[Row] = (
    Row("text in a problem", shown, _pasted, ("config/problems.py:_CREDENTIALS",)),
    Row("key in a problem", lambda text: dotted((text, 3, text)), _pasted, ("config/problems.py:_SIMPLE_KEY",)),
    Row(
        "YAML",
        parse_yaml,
        (*_yaml_words, numbered("k{}: 1\n"), *of("a,", before="[", after="]")),
        ("config/yaml_source.py:",),
        size=1024,
    ),
    Row("YAML without an end", parse_yaml, _nested, size=1024),
    Row(
        "targets file",
        refused(targets),
        (
            *of("a", "1", "@", before="- address: "),
            numbered("- {{address: a b, fleet: f, x{}: 2}}\n"),
            numbered("- a{}\n"),
            numbered("- {{fleet: f, pod: a{}}}\n"),
            *of("- {address: a, fleet: f, path: /}\n"),
            *of("- {address: a}\n"),
        ),
        ("config/values.py:Matching._check",),
        size=1024,
    ),
    Row(
        "settings",
        settings,
        (*_pasted, *_yaml_words, *of("a.", "a/", "a-"), *of("a", before="http://")),
        ("config/values.py:AnnotationMap._read", "config/values.py:_read_url", "kube/selector.py:_KEY"),
        size=1024,
    ),
    Row(
        "duration in settings",
        refused(parse_duration),
        of("1", "1h", "1.", "1.1", " ", "h", "1ms"),
        ("config/durations.py:_DURATION", "config/durations.py:_parse_text"),
    ),
    Row(
        "address of an agent",
        refused(parse_agent_address),
        (*_addresses, *of("a.", after="!"), *of("1", before="a:")),
        ("config/addresses.py:_HOST_NAME", "config/addresses.py:_PORT", "config/addresses.py:_host"),
    ),
    Row(
        "failure pattern",
        refused(LinePattern),
        of("(", "a", "[", "{,", "a{,", "\\", "a|", "(?=", "(a?){9}"),
        ("config/line_pattern.py:_REPEATED_FROM_0",),
        size=1024,
    ),
    *(
        Row(
            f"log lines with {pattern}",
            lines(LinePattern(pattern).found_in),
            of("ERROR Task ", "ERROR ", "failed ", "é", "a"),
            ("config/line_pattern.py:LinePattern.__init__",),
        )
        for pattern in ("ERROR .*[Tt]ask .* failed", "(a+)+$", "(a|a)*b", "(?i).*.*.*x$")
    ),
    Row(
        "log line's time",
        lines(LineParser().parse),
        of("1", "Z", " ", "+01:00", before="2026-01-01T00:00:00."),
        ("podhealth/log_lines.py:_LINE",),
    ),
    Row(
        "log event",
        event,
        (*_pasted, *of("Bearer ", "Basic a", "\x00", "\x1b[1m", "passphrase", "api_key", "\u2028")),
        ("logs.py:_SECRET_KEY", "logs.py:_SECRET_TEXT", "logs.py:_CONTROL", "logs.py:_CONTROL_BUT_NEWLINE"),
    ),
    Row("text on a terminal", terminal.visible, (*_pasted, *of("\x1b", "\u200b")), ("terminal.py:_OBEYED",)),
    Row(
        "paragraph on a terminal",
        lambda text: terminal.Paper(80, colours=False).paragraph(text, 4),
        (*_sentences, *of("a", "a-")),
        size=16_384,
    ),
    Row(
        "reasons alike",
        reasons,
        _sentences,
        (
            "status/alike.py:_DURATION",
            "status/alike.py:_DIGITS",
            "status/alike.py:_NUMBER",
            "status/alike.py:_PART_OF_MORE",
        ),
    ),
    Row(
        "metrics page",
        page,
        (
            *of("{", "}", "a", "\n", " ", "\t", "#", '"', "\\", "app_active_task_count", "app_active_task_count 1\n"),
            *of('a="', 'a="b",', '"', '"a",', "\\\\", " ", "\t", before="app_active_task_count{", after="} 1"),
            *of('a="', '"', '"app_active_task_count"', '"app_active_task_count" ', "\\", "a", before="{", after="} 1"),
            *of(" # {", "#", " 1", "1", "1_", "e", before='app_active_task_count{a="b"} ', after="\n"),
            numbered('app_active_task_count{{a="{}"}} 1\n'),
            numbered('{{"app_active_task_count",a="{}"}} 1\n'),
            numbered(' app_active_task_count{{a{}="x"}} 1\n'),
        ),
        (
            "fleet/exposition.py:FamilyFilter.__init__",
            "fleet/exposition.py:_ITEM",
            "fleet/exposition.py:_LABEL_SET_END",
            "fleet/exposition.py:_ESCAPE",
        ),
    ),
    Row(
        "label selector",
        refused(parse_selector),
        of("a", "a,", "!", "(", ",", "a.", "a/", "a=b,", " ", "<", "a in (", "b,", before="a in ("),
        ("kube/selector.py:_KEY", "kube/selector.py:_VALUE", "kube/selector.py:_TOKEN"),
        size=1000,
    ),
    Row("quantity", parse_quantity, of("1", "1.", "e", "1e", ".", "-", "m"), ("kube/quantity.py:_QUANTITY",), size=16),
    Row(
        "Go duration",
        go_duration,
        of("1", "1h", "1.", "1.1", "m", "1ms"),
        ("kube/times.py:_DURATION", "kube/times.py:_DURATION_PART"),
        size=16,
    ),
    Row("time of Kubernetes", unix_time, of("2026-01-01T00:00:00Z", "1", ".", before="2026-01-01T00:00:00")),
    Row(
        "pod",
        pod,
        (*of("a", "a ", "1", "-", "a-", " ", "/"), numbered("a{} "), *of("-", before="0/1 nodes are available: ")),
        (
            "doctor/cluster_autoscaler.py:_ITSELF",
            "doctor/cluster_autoscaler.py:is_cluster_autoscaler",
            "doctor/keda.py:_VERSION",
        ),
    ),
    Row("Lease and HPA", lease, of("a", "a ", "1", " ", "-")),
    Row("field on one line", lambda text: line(text, 300), of("a", " ", "a ", "\n", "\u2028")),
    Row(
        "mark of protection",
        read_mark,
        of("[", "{", '"', '{"a":', "1", " ", '"a",', before='{"by": "a", "annotations": '),
    ),
    Row(
        "history entries",
        lambda text: decode({"2026-01-01": text, text: text, "agent-starts": text}, 1.77e9, 60),
        of("1", "-", "- ", "1*", "12*3 ", "1 1.0 a, ", ", ", " ", "*"),
        ("history/encoding.py:_DAY", "history/encoding.py:_VALUE", "history/encoding.py:_START"),
        size=512,
    ),
    Row(
        "name of a history",
        lambda text: config_map_name(text, (text, text)),
        of("a", "-", "A.", "é", " "),
        ("history/stored_fleet.py:_UNFIT",),
    ),
    Row(
        "last readings",
        refused(Note.from_text, KeyError, TypeError),
        (
            *of("[", "{", '"', "1,", before='{"time": 1, "scope": "a", "agents": ['),
            lambda size: json.dumps({"time": 1, "scope": "a", "agents": [["u"] * 9] * (size // 45)}),
        ),
    ),
    Row(
        "spool's row",
        refused(lambda text: Datum.from_json(0, text)),
        (
            *of("[", "{", '"', "1,", before='["m", "u", 60, [], ['),
            lambda size: json.dumps(["TasksActive", "Count", 60, [["a", "b"]] * (size // 10), [1.5], [1]]),
            lambda size: json.dumps(["TasksActive", "Count", 60, [["a", "b"]], [1.5] * (size // 8), [1] * (size // 8)]),
        ),
    ),
    Row(
        "spool's baseline",
        refused(Baseline.from_json),
        (
            *of("[", '{"a":', before='{"time": 1, "counters": '),
            lambda size: json.dumps({"time": 1, "counters": {str(n): {"u": [1.0, 2.0]} for n in range(size // 25)}}),
        ),
    ),
    Row(
        "CSV of a past",
        refused(lambda text: parsed(io.StringIO("time,demand\n" + text), "x"), PlanError),
        (*of('"', ",", '"a",', "1,1\n", "\n", " "), numbered("{},1\n"), numbered('"2026-01-01T00:00:{}",1\n')),
    ),
    Row(
        "users file",
        refused(lambda text: parse_users(text, "x"), ServeError),
        (
            *of("a", ":", "$", "#\n", "\n", "$2y$", "a: b\n"),
            *of("a", "$", "=", before="a: $scrypt$ln=14,r=8,p=1$"),
            *of("a", ".", before="a: $2y$12$"),
        ),
        ("web/passwords.py:_BCRYPT", "web/passwords.py:_SCRYPT"),
    ),
    Row(
        "names in a query",
        lambda text: chosen(dict.fromkeys(PLACEHOLDERS, text)),
        of("a", "a.", "-", "a-", ".", "a."),
        ("web/runbooks.py:_ALLOWED", "web/runbooks.py:_DNS_NAME"),
    ),
    Row(
        "region of a Prometheus",
        refused(managed_prometheus_region),
        of("a", "a-", "-1", "vpce-", before="https://aps-workspaces.") + of("a.", "@", ":", before="https://"),
        ("aws/endpoints.py:_MANAGED_PROMETHEUS",),
    ),
)
