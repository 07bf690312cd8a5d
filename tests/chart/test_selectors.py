"""The policy for the agents selects the pods that the exporter finds, whatever the selector.

The template reads the selector's text by itself; here it is held to the project's own parser, over sets of labels.
"""

from itertools import product
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.kube.selector import SelectorError, parse_selector
from tests.chart.rendering import NAMESPACE, RELEASE
from tests.fakes.helm import CHART, Tool
from tests.fakes.policies import selects

KEYS, VALUES = ("a", "in", "example.org/b"), (None, "", "x", "y")
LABELS = [
    {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
    for values in product(VALUES, repeat=len(KEYS))
]

GOOD = [
    "app.kubernetes.io/name in (matillion-agent,matillion-runner),!app.kubernetes.io/component",
    "a", "!a", "! a", " a ", "a=x", "a==x", "a!=x", "a = x", "a == x", "a != x", "a=", "a!=", "a==,in",
    "a in (x)", "a in(x)", "a  in  ( x , y )", "a in (x,y)", "a in ()", "a in (x,)", "a in (,x)", "a in (x,x)",
    "a notin (x)", "a notin(x,y)", "a notin ( )", "in in (in,x)", "in notin (x)", "in", "!in", "in=x", "notin",
    "a,!in", "a=x,a=y", "a=x,a!=y", "a in (x,y),a notin (y)", "a in (x,y) , in , example.org/b != x",
    "example.org/b", "!example.org/b", "example.org/b in (x,y)", "example.org/b=x,a", "a\tin\t(x)", "a\n,in",
    "example.org/b notin (x),a in (y,),in=",
]  # fmt: skip
BAD = [
    "", " ", ",", "a,", ",a", "a,,in", "a in", "a in x", "a in x,y", "a in (x", "a in x)", "a in (x))", "a (x)",
    "in (x)", "a in (x) y", "a in (x y)", "a notin", "=x", "!=x", "a===x", "a=x=y", "a=!x", "!a=x", "!a in (x)",
    "!!a", "a b", "a>1", "a<1", "a in (x),", "-a", "a-", "a=-x", "a=x-", "/a", "example.org/", "Example.org/a",
    "a/b/c", "(a)", "a,(in)", 'a="x"', "a in {x}", "a; in", "a in (x)in",
]  # fmt: skip


def policy_selector(helm: Tool, text: str) -> Any:
    """Return the podSelector of the agents' policy; fails with what helm says. The schema is not asked."""
    values = yaml.safe_dump({"config": {"discovery": {"kubernetes": {"label_selector": text}}}})
    done = helm(
        "template", RELEASE, CHART, "--namespace", NAMESPACE, "--show-only", "templates/networkpolicy.yaml",
        "--skip-schema-validation", "--values", "-", stdin=values,
    )  # fmt: skip
    if done.returncode:
        raise SelectorError(done.stderr)
    (found,) = (
        one["spec"]
        for one in yaml.load_all(done.stdout, yaml.CSafeLoader)
        if one and one["metadata"]["name"].endswith("-agents")
    )
    return found["podSelector"]


def agrees(helm: Tool, text: str) -> None:
    made, parsed = policy_selector(helm, text), parse_selector(text)
    for labels in LABELS:
        assert selects(made, labels) == parsed.matches(labels), (text, made, labels)


@pytest.mark.slow
@pytest.mark.parametrize("text", GOOD)
def test_the_policy_selects_what_is_found(helm: Tool, text: str) -> None:
    """Whatever the form and the spaces."""
    agrees(helm, text)


@pytest.mark.slow
@pytest.mark.parametrize("text", BAD)
def test_what_is_no_selector_makes_no_policy(helm: Tool, text: str) -> None:
    """The parser refuses it (but for the empty one, which would select every pod), and so does the chart."""
    if text.strip():
        with pytest.raises(SelectorError):
            parse_selector(text)
    with pytest.raises(SelectorError, match="is not a label selector; write requirements joined by commas"):
        policy_selector(helm, text)


def test_a_selector_that_is_none_is_refused(helm: Tool) -> None:
    """With the schema in place too, the value is named."""
    done = helm("template", CHART, "--set-json", 'config.discovery.kubernetes.label_selector="a in x"')
    assert done.returncode != 0
    assert "label_selector" in done.stderr


def _spaced(*parts: str) -> st.SearchStrategy[str]:
    """Join the parts of a requirement with any spaces between them."""
    spaces = st.sampled_from(["", " ", "  ", "\t"])
    return st.tuples(*(item for part in parts for item in (st.just(part), spaces))).map("".join)


_KEYS, _VALUES = st.sampled_from(KEYS), st.sampled_from(["", "x", "y"])
# Two empty values at the end of three are what the API server refuses, and the parser with it.
_SETS = st.lists(_VALUES, min_size=1, max_size=3).filter(lambda values: values[1:] != ["", ""])
_REQUIREMENTS = st.one_of(
    _KEYS,
    _KEYS.flatmap(lambda key: _spaced("", "!", key)),
    st.tuples(_KEYS, st.sampled_from(["=", "==", "!="]), _VALUES).flatmap(lambda parts: _spaced(*parts)),
    st.tuples(_KEYS, st.sampled_from(["in", "notin"]), _SETS).flatmap(
        lambda parts: _spaced(f"{parts[0]} {parts[1]}", "(", ",".join(parts[2]), ")")
    ),
)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(_REQUIREMENTS, min_size=1, max_size=4).map(",".join))
def test_any_selector(helm: Tool, text: str) -> None:
    """Requirements joined in any number."""
    agrees(helm, text)
