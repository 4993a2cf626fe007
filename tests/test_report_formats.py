"""Every format of a report shows the figures of one Report: people get them rounded, machines exact."""

from __future__ import annotations

import html
import io
import json
import re
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import found, run_of
from rich.console import Console

from reviewopt import report
from reviewopt.config import packaged
from reviewopt.render import junit, terminal
from reviewopt.render import report as render
from reviewopt.report import Limits, Report, called, figures, making

LIMITS = Limits(
    min_accuracy=0.5,
    max_cost_usd=Decimal("0.0001"),
    max_cost_per_1k_usd=Decimal(2),
    min_hit_rate=0.61,
    min_throughput=10,
    max_failures=3,
    max_failures_share=0.001,
    max_p95_latency_s=2,
    max_regression=0.05,
)
SECONDS = [0.1 * at for at in range(1, 41)]
HOSTILE = (
    "\x1b[31m<script>|`x`|</a> ![i](http://e.test/i.png) @team *_%0A::error::x, y:\r\n::add-mask::z\x00\ud800\u202e"
)


def made(**changes: Any) -> Report:
    read = found(run_of(n_rows=1234, n_failed=4, **changes), SECONDS)
    return making.of_read(read, baseline=found(run_of(run_id="20260101-000000-000000")), limits=LIMITS)


def table(one: Report) -> str:
    file = io.StringIO()
    console = Console(file=file, width=160, force_terminal=False)
    terminal.show_report(console, one)
    render.show_judged(console, one)
    return file.getvalue()


def exact(text: str) -> float | str | None:
    """A figure as it is in XML; USD stay text in the report."""
    return float(text) if text else None


def rows_of(markdown: str) -> list[list[str]]:
    """The cells of all tables of a Markdown text, without what escapes them."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[_plain(cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def _plain(cell: str) -> str:
    return html.unescape(re.sub(r"\\(.)", r"\1", cell))


def rounded(text: str) -> tuple[float, float]:
    """A figure that was rounded for people, and by how much it may be off."""
    number = re.search(r"-?[\d,]+(\.\d+)?(e-?\d+)?", text)
    assert number is not None, text
    whole = number.group().replace(",", "")
    digits = whole.partition("e")[0].partition(".")[2]
    scale = 10.0 ** int(whole.partition("e")[2] or 0) * 10 ** -len(digits)
    at = 0.01 if "%" in text else 1.0
    return float(whole) * at, 0.5000001 * scale * at


def is_rounded_from(text: str, value: float | str | None) -> bool:
    if value is None:
        return text in {"not measured", "missing"}
    shown, off = rounded(text)
    return abs(shown - float(value)) <= off


def test_every_format_shows_the_figures_of_one_report() -> None:
    one = made()
    wanted = {each.name: each.value for each in figures(one)}
    assert sum(value is not None for value in wanted.values()) >= 14

    decoded = msgspec.json.decode(report.to_json(one), type=Report)
    assert decoded == one
    assert figures(decoded) == figures(one)

    root = ET.fromstring(junit.xml(one))  # noqa: S314 - our own
    properties = {each.get("name", "").partition(" [")[0]: each.get("value") or "" for each in root.iter("property")}
    for name, value in wanted.items():
        assert exact(properties[name]) == (None if value is None else float(value)), name

    cells = rows_of(render.markdown(one))
    shown = {row[0]: row[1] for row in cells if len(row) == 2}
    assert shown.keys() - {"figure"} - {"---"} == wanted.keys()
    for name, value in wanted.items():
        assert is_rounded_from(shown[name], value), (name, shown[name], value)

    text = table(one)
    assert f"{one.run.n_rows:,} reviews" in text
    [line] = [line for line in text.splitlines() if line.startswith("in all ")]
    told = [line.partition("in all ")[2].partition(",")[0], re.findall(r"(\$\S+) per 1,000", line)[0]]
    told += [re.findall(rf"([\d.]+ s) \({which}\)", line)[0] for which in ("p50", "p95")]
    told += [line.partition("at most ")[2]]
    names = ("cost, total", "cost per 1,000 reviews", "latency, p50", "latency, p95", "latency, max")
    for name, words in zip(names, told, strict=True):
        assert is_rounded_from(words, wanted[name]), (name, words)

    head = render.head(one)
    assert head in _plain(render.markdown(one))
    assert head.replace("%", "%25") in render.commands(one)


def test_every_format_shows_the_same_gates() -> None:
    one = made()
    n_bad = sum(not gate.is_met for gate in one.gates)
    assert 3 <= n_bad < len(one.gates)
    wanted = [(called(gate), gate.is_met) for gate in one.gates]

    in_json = json.loads(report.to_json(one))["gates"]
    assert [(gate["figure"], gate["limit"]) for gate in in_json] == [(gate.figure, gate.limit) for gate in one.gates]

    root = ET.fromstring(junit.xml(one))  # noqa: S314 - our own
    [suite] = root.iter("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == (str(len(one.gates) + 1), str(n_bad))
    cases = [case for case in root.iter("testcase") if case.get("classname") == "reviewopt.gates"]
    assert [(case.get("name"), case.find("failure") is None) for case in cases] == wanted
    for case, gate in zip(cases, one.gates, strict=True):
        told = "".join(case.itertext()).strip()
        figure = "missing" if gate.figure is None else gate.figure
        assert told == f"limit {gate.limit}, figure {figure}"
        assert gate.is_met or case.find("failure").get("message") == gate.why  # type: ignore[union-attr]
    assert all(float(case.get("time", "x")) >= 0 for case in root.iter("testcase"))

    rows = [row for row in rows_of(render.markdown(one)) if row[-1] in {"met", "NOT MET"}]
    assert [(row[0], row[3] == "met") for row in rows] == wanted
    for row, gate in zip(rows, one.gates, strict=True):
        sign = "" if gate.figure is None or float(gate.figure) >= 0 or gate.unit != "relative" else "-"
        is_word = row[2] in {"as before", "from nothing"} and not gate.figure
        assert is_word or is_rounded_from(sign + row[2], gate.figure) or gate.name == "min_accuracy", row
    text = table(one)
    for row in rows:
        assert re.search(r"\s+".join(map(re.escape, row)), text), row

    errors = [line for line in render.commands(one).splitlines() if line.startswith("::error ")]
    assert len(errors) == n_bad
    for line, gate in zip(errors, [gate for gate in one.gates if not gate.is_met], strict=True):
        assert line.partition("::error title=")[2].partition("::")[2].replace("%25", "%").endswith(gate.why)


def test_the_accuracy_that_is_shown_beside_its_limit_is_never_rounded_up() -> None:
    one = making.of_read(found(run_of(n_right=899)), limits=Limits(min_accuracy=0.8788))
    [gate] = one.gates
    assert 0.87875 < float(gate.figure or 0) < 0.8788
    [row] = [row for row in rows_of(render.markdown(one)) if row[0] == "accuracy" and row[-1] == "NOT MET"]
    assert row[2] == "87.87 %"


def test_a_figure_that_rounds_onto_its_limit_is_shown_in_full_where_it_breaks_it() -> None:
    one = making.of_read(found(run_of(), [2.0001] * 9), limits=Limits(max_p95_latency_s=2.0))
    assert "2 s (2.0001)" in table(one)


def hostile() -> Report:
    run = run_of(task=HOSTILE, error=HOSTILE, output=HOSTILE, n_right=None)
    run = msgspec.structs.replace(
        run,
        model=msgspec.structs.replace(run.model, name=HOSTILE),
        input=msgspec.structs.replace(run.input, names=(HOSTILE,)),
        started_at=HOSTILE,
    )
    read = found(run, None, state="failed", damage=HOSTILE)
    return making.of_read(read, baseline=found(run_of(run_id=HOSTILE), state="killed"), limits=LIMITS)


def test_foreign_text_is_nothing_but_text_in_markdown() -> None:
    text = render.markdown(hostile())
    assert "<script>" not in text
    assert not re.search(r"(?<!\\)!\[|(?<!\\)\]\(|(?<![\\&])@team|(?<!\\)`", text)
    assert all(line.isprintable() for line in text.split("\n"))
    assert {len(row) for row in rows_of(text)} <= {2, 4, 5}
    assert not [line for line in text.splitlines() if line.startswith("::")]


def test_foreign_text_is_nothing_but_text_in_xml() -> None:
    root = ET.fromstring(junit.xml(hostile()))  # noqa: S314 - our own
    assert {each.tag for each in root.iter()} == {
        "testsuites", "testsuite", "properties", "property", "testcase", "failure",
    }  # fmt: skip
    values = {each.get("name"): each.get("value") for each in root.iter("property")}
    assert "?[31m<script>|`x`|</a>" in str(values["task"])


@given(st.text(st.characters(codec=None), max_size=40))
def test_any_text_makes_valid_xml_and_one_workflow_command_a_line(text: str) -> None:
    one = hostile()
    run = msgspec.structs.replace(one.run, error=text, task=text, started_at=text)
    changed = msgspec.structs.replace(one, run=run, notes=(text,))
    ET.fromstring(junit.xml(changed).encode())  # noqa: S314 - our own
    lines = render.commands(changed).split("\n")
    assert lines[-1] == ""
    assert all(re.match(r"::(error|warning|notice) title=[^:,]*::", line) for line in lines[:-1])
    assert len(lines) == len(render.commands(one).split("\n"))


def test_foreign_text_cannot_give_github_a_command() -> None:
    text = render.commands(hostile())
    lines = text.splitlines()
    assert all(re.fullmatch(r"::(error|warning|notice) title=[^:,]*::.*", line) for line in lines)
    assert not [line for line in lines if line.startswith("::add-mask")]
    assert "%250A::error::x, y:%0D%0A::add-mask::z" in text
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("state", ["running", "killed", "failed", "interrupted"])
def test_a_run_that_is_not_done_says_in_every_format_what_it_did(state: report.State) -> None:
    one = making.of_read(found(run_of(n_rows=777, n_hits=100), SECONDS, state=state), limits=LIMITS)
    root = ET.fromstring(junit.xml(one))  # noqa: S314 - our own
    [case] = [case for case in root.iter("testcase") if case.get("classname") == "reviewopt.run"]
    assert case.find("failure") is not None
    assert root.get("failures") == str(len(list(root.iter("failure")))) == str(len(one.gates) + 1)
    assert f'"state": "{state}"' in report.to_json(one)
    for text in (render.markdown(one), render.commands(one), table(one)):
        assert "777 reviews" in text or "777 |" in text
    assert one.cost.models_usd == "1"
    assert one.latency is not None
    assert "::warning title=reviewopt%3A run::" in render.commands(one)


def test_the_report_keeps_to_its_schema_and_the_committed_one_is_the_types() -> None:
    committed = json.loads(packaged("configs", "report.schema.json").read_text())
    assert committed == report.json_schema(), "rewrite configs/report.schema.json: CONTRIBUTING.md says how"
    validator = jsonschema.Draft202012Validator(committed)
    for one in (made(), making.of_read(found(run_of(spent_usd=None), None))):
        validator.validate(json.loads(report.to_json(one)))
