"""A report as JUnit XML, which CI systems read: a test case a gate, and one for the run itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from reviewopt.report import Report, called, figures

# What XML 1.0 cannot hold in any form (its production 2, Char), and the control characters that it discourages.
_NO_XML: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")


def xml(report: Report) -> str:
    """Return a report as one test suite, its figures exact, as properties; `""` stands for what was not measured."""
    run, n_bad = report.run, sum(not gate.is_met for gate in report.gates) + (report.state != "done")
    counts = f'tests="{len(report.gates) + 1}" failures="{n_bad}" errors="0" skipped="0" time="{run.wall_s:.3f}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="reviewopt report" {counts}>',
        f'  <testsuite name="reviewopt" {counts} timestamp={_attribute(run.started_at)}>',
        "    <properties>",
        *_properties(report),
        "    </properties>",
        *_cases(report),
        "  </testsuite>",
        "</testsuites>",
    ]
    return "\n".join(lines) + "\n"


def _properties(report: Report) -> Iterator[str]:
    run = report.run
    known = {"run": run.run_id, "state": report.state, "task": run.task, "model": run.model.name}
    known |= {"baseline": report.baseline.run_id} if report.baseline is not None else {}
    for name, value in known.items():
        yield f"      <property name={_attribute(name)} value={_attribute(value)}/>"
    for one in figures(report):
        value = "" if one.value is None else one.value if isinstance(one.value, str) else repr(one.value)
        yield f"      <property name={_attribute(f'{one.name} [{one.unit}]')} value={_attribute(value)}/>"


def _cases(report: Report) -> Iterator[str]:
    run = report.run
    why = "" if report.state == "done" else f"the run {report.run.run_id} is {report.state}: {run.error or 'no output'}"
    yield from _case("run", "the run is done", run.wall_s, why, f"{run.n_rows} reviews")
    for gate in report.gates:
        figure = "missing" if gate.figure is None else str(gate.figure)
        told = f"limit {gate.limit}, figure {figure}"
        yield from _case("gates", called(gate), 0.0, "" if gate.is_met else gate.why, told)


def _case(group: str, name: str, seconds: float, why: str, told: str) -> Iterator[str]:
    yield f'    <testcase classname="reviewopt.{group}" name={_attribute(name)} time="{seconds:.3f}">'
    if why:
        yield f'      <failure type="gate" message={_attribute(why)}>{escape(_clean(told))}</failure>'
    else:
        yield f"      <system-out>{escape(_clean(told))}</system-out>"
    yield "    </testcase>"


def _attribute(text: str) -> str:
    return quoteattr(" ".join(_clean(text).split()))


def _clean(text: str) -> str:
    return _NO_XML.sub("?", text)
