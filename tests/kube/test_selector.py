"""Label selectors, by Kubernetes' grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.kube.selector import SelectorError, parse_selector

LABELS = {"fleet": "prod", "cluster": "eu-1", "example.com/team": "etl", "empty": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "fleet=prod",
        "fleet==prod",
        " fleet = prod , cluster = eu-1 ",
        "fleet!=test",
        "zone!=a",
        "fleet in (test,prod)",
        "fleet in ( prod )",
        "fleet in(prod)",
        "fleet notin(test)",
        "fleet\tin\r\n(prod)",
        "fleet in (,,prod)",
        "fleet in (test,,prod)",
        "empty in (,)",
        "empty in (x,)",
        "!in,!notin",
        "d" * 64 + ".example/team notin (a)",
        "fleet notin (test, other)",
        "zone notin (a)",
        "fleet",
        "!zone",
        "! zone",
        "empty=",
        "empty",
        "empty in (,x)",
        "fleet!=",
        "example.com/team=etl",
        "fleet,cluster,!zone,fleet in (prod),cluster notin (us-1)",
    ],
)
def test_met(text: str) -> None:
    """Equality, sets, presence and their negations; a label that is not there satisfies a negation."""
    assert parse_selector(text).matches(LABELS)


@pytest.mark.parametrize(
    "text",
    [
        "fleet=test",
        "fleet!=prod",
        "fleet in (test)",
        "fleet notin (prod)",
        "!fleet",
        "zone",
        "zone=a",
        "zone=",
        "fleet=",
        "fleet=prod,cluster=us-1",
        "fleet in ()",
    ],
)
def test_not_met(text: str) -> None:
    """One requirement that fails is enough."""
    assert not parse_selector(text).matches(LABELS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fleet=prod,", "expected a label key, found the end"),
        (",fleet", "expected a label key, found ','"),
        ("fleet=a b", "expected a comma or the end, found 'b'"),
        ("fleet in prod", "expected an opening bracket, found 'prod'"),
        ("fleet in (prod", "expected a comma or a closing bracket, found the end"),
        ("fleet in (a b)", "expected a comma or a closing bracket, found 'b'"),
        ("fleet===x", "expected a label value, found '='"),
        ("=x", "expected a label key, found '='"),
        ("!fleet=x", "expected a comma or the end, found '='"),
        ("fleet>1", "> is not supported"),
        ("fleet < 1", "< is not supported"),
        ("fleet\v=prod", "expected a label key"),
        ("\u00a0", "expected a label key"),
        ("fleet in (a,,)", "a trailing comma in a list"),
        ("fleet in (,,)", "a trailing comma in a list"),
        ("fleet=)", "expected a comma or the end, found ')'"),
        ("a" * 252 + "./x", "expected a label key"),
        ("-x=1", "expected a label key, found '-x'"),
        ("a/b/c", "expected a label key, found 'a/b/c'"),
        ("UPPER.example/x", "expected a label key, found 'UPPER.example/x'"),
        ("x=" + "v" * 64, "expected a label value"),
        ("x=v\x00", "expected a label value"),
        ("x=ä", "expected a label value, found 'ä'"),
        ("a," * 3000, "longer than 4096 characters"),
    ],
)
def test_bad(text: str, reason: str) -> None:
    """What is no selector is refused, with the place."""
    with pytest.raises(SelectorError) as raised:
        parse_selector(text)
    assert reason in str(raised.value)


@given(st.text(alphabet="ab =!(),<>/.-in\n\x00é", max_size=40))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    """Nothing else can come of reading any text, and what is read can be matched."""
    try:
        selector = parse_selector(text)
    except SelectorError:
        return
    selector.matches(LABELS)


@given(st.sampled_from(["a", "b", "in", "notin"]), st.sets(st.sampled_from(["x", "y", "z"]), min_size=1))
def test_a_negation_is_the_opposite(key: str, values: set[str]) -> None:
    """For all labels `notin` is true where `in` is not, and `!key` where `key` is not."""
    joined = ",".join(sorted(values))
    for labels in ({}, {key: "x"}, {key: "other"}):
        inside, outside = parse_selector(f"{key} in ({joined})"), parse_selector(f"{key} notin ({joined})")
        assert inside.matches(labels) != outside.matches(labels)
        assert parse_selector(key).matches(labels) != parse_selector(f"!{key}").matches(labels)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("fleet=a", {"a"}),
        ("fleet==a,cluster=b", {"a"}),
        ("fleet in (a, b)", {"a", "b"}),
        ("fleet in (a, b), fleet in (b, c)", {"b"}),
        ("fleet=a,fleet=b", set()),
        ("fleet!=a", None),
        ("fleet notin (a)", None),
        ("fleet", None),
        ("!fleet", None),
        ("cluster=a", None),
    ],
)
def test_the_values_that_a_label_may_have(text: str, expected: set[str] | None) -> None:
    """Only a positive list of values bounds what can match."""
    assert parse_selector(text).allowed("fleet") == expected
