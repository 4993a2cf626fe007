"""The figures, gates and comparison of a report: as tables for a terminal, as Markdown, and for GitHub's log.

Every figure comes from the Report; here they are only rounded, and machines get them exact (`junit`, JSON).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Console

from reviewopt.render import sheets
from reviewopt.render.parts import UNKNOWN, plain, usd
from reviewopt.render.sheets import Sheet, escaped
from reviewopt.report import Comparison, Gate, Report, called, figures
from reviewopt.report.values import Unit

MARK: Final = "<!-- reviewopt report -->"
_STATES: Final = {
    "done": "done",
    "running": "still running",
    "killed": "killed",
    "interrupted": "interrupted",
    "failed": "failed",
}
_EXACT: Final = 12  # digits of a limit, which a person wrote


def show_judged(console: Console, report: Report) -> None:
    """Print the comparison and the gates of a report, where there are any."""
    for note in report.notes:
        console.print(plain(note), style="yellow", highlight=False, soft_wrap=True)
    for sheet in _judged(report):
        sheets.show(console, sheet)
    for line in _lines(report):
        console.print(plain(line), highlight=False, soft_wrap=True)


def markdown(report: Report) -> str:
    """Return a report as Markdown, for a job's summary."""
    run = report.run
    names = ", ".join(run.input.names[:3]) + (f" and {len(run.input.names) - 3} more" if run.input.names[3:] else "")
    parts = [
        MARK,
        f"## {escaped(f'{names}: {_STATES[report.state]} · run {run.run_id}')}",
        f"**{escaped(head(report))}**",
    ]
    rows = tuple((one.name, shown(one.unit, one.value)) for one in figures(report))
    parts += [sheets.markdown(one) for one in (Sheet(head=("figure", "this run"), rows=rows), *_judged(report))]
    lines = [*report.notes, *_lines(report)]
    if lines:
        parts.append("\n".join(f"- {escaped(line)}" for line in lines))
    return "\n\n".join(parts) + "\n"


def commands(report: Report) -> str:
    """Return a report as GitHub's workflow commands: an error a gate that is not met, and a notice that sums it up."""
    lines = [
        _command("error", f"reviewopt: {called(gate)}", f"the {called(gate)} gate is not met: {gate.why}")
        for gate in report.gates
        if not gate.is_met
    ]
    if report.state != "done":
        lines.append(_command("warning", "reviewopt: run", f"run {report.run.run_id} is not done: {head(report)}"))
    lines += [_command("warning", "reviewopt", note) for note in report.notes]
    lines.append(_command("notice", "reviewopt", head(report)))
    return "\n".join(lines) + "\n"


def head(report: Report) -> str:
    """Say in one line what became of the run and its gates."""
    n, n_met = len(report.gates), sum(gate.is_met for gate in report.gates)
    gates = f"{n_met} of {n} gates met; " if n else ""
    told = {figure.name: shown(figure.unit, figure.value) for figure in figures(report)}
    return (
        f"{gates}{_STATES[report.state]}: {told['reviews']} reviews, {told['failures']} without an answer, accuracy "
        f"{told['accuracy']}, {told['cost, total']}, {told['throughput']}"
    )


def shown(unit: Unit, value: float | str | None) -> str:
    """Round a figure for people."""
    if value is None:
        return UNKNOWN
    if unit in {"usd", "usd_per_1000"}:
        return usd(str(value))
    number = float(value)
    if unit in {"share", "relative"}:
        return f"{100 * number:.1f} %"
    if unit == "reviews":
        return f"{number:,.0f}"
    return f"{number:,.0f} reviews/s" if unit == "reviews_per_s" and number >= 10 else f"{number:.3g}{_unit(unit)}"


def _unit(unit: Unit) -> str:
    return " reviews/s" if unit == "reviews_per_s" else " s"


def _limit(gate: Gate) -> str:
    """Show a limit as it was set."""
    at_least = "at least" if gate.name.startswith("min_") else "at most"
    if gate.unit in {"usd", "usd_per_1000"}:
        return f"{at_least} ${gate.limit}"
    number = float(gate.limit)
    if gate.unit in {"share", "relative"}:
        return f"{at_least} {100 * number:.{_EXACT}g} %{' worse' if gate.unit == 'relative' else ''}"
    return f"{at_least} {number:,.{_EXACT}g}{'' if gate.unit == 'reviews' else _unit(gate.unit)}"


def _judged(report: Report) -> Iterator[Sheet]:
    if report.baseline is not None:
        yield _comparison(report.baseline)
    if report.gates:
        rows = tuple(
            (called(gate), _limit(gate), _figure(gate), "met" if gate.is_met else "NOT MET") for gate in report.gates
        )
        yield Sheet(head=("gate", "limit", "figure", "result"), rows=rows)


def _figure(gate: Gate) -> str:
    """Show a gate's figure; one that is rounded onto its limit has more digits."""
    if gate.unit == "relative":
        return ("from nothing" if gate.is_met else "missing") if gate.figure is None else _worse(float(gate.figure))
    if gate.figure is None:
        return "missing"
    if gate.name == "min_accuracy":  # a bound is never rounded up
        return f"{(float(gate.figure) * 10_000 + 1e-8) // 1 / 100:.2f} %"
    text = shown(gate.unit, gate.figure)
    return text if gate.is_met else f"{text}{_finer(gate, text)}"


def _finer(gate: Gate, text: str) -> str:
    """Add the exact figure where rounding hides that the limit is not met."""
    hidden = text == shown(gate.unit, gate.limit)
    return f" ({gate.figure})" if hidden else ""


def _worse(loss: float) -> str:
    return f"{100 * abs(loss):.1f} % {'worse' if loss > 0 else 'better'}" if round(loss, 3) else "as before"


def _comparison(made: Comparison) -> Sheet:
    rows = []
    for one in made.differences:
        if one.baseline is None and one.run is None:
            continue
        is_new = one.loss is None and one.baseline is not None and one.run is not None
        loss = "from nothing" if is_new else UNKNOWN if one.loss is None else _worse(one.loss)
        p = "-" if one.p_adjusted is None else f"{one.p_adjusted:.2g}"
        rows.append((one.name, shown(one.unit, one.baseline), shown(one.unit, one.run), loss, p))
    return Sheet(head=("beside the baseline", "baseline", "this run", "change", "p"), rows=tuple(rows))


def _lines(report: Report) -> Iterator[str]:
    """Say what was tested how, and why each gate that is not met is not."""
    if report.baseline is not None:
        yield f"baseline: run {report.baseline.run_id}"
        yield from report.baseline.notes
        tests: dict[str, list[str]] = {}
        for one in report.baseline.differences:
            if one.baseline is not None and one.run is not None:
                tests.setdefault(one.test, []).append(one.name)
        for test, names in tests.items():
            yield f"{', '.join(names)}: {test}"
    for gate in report.gates:
        if not gate.is_met:
            yield f"{called(gate)}: {gate.why}"


def _command(kind: str, title: str, message: str) -> str:
    """Write a workflow command as GitHub's toolkit escapes it (actions/toolkit, packages/core/src/command.ts)."""
    data = _escaped_data(message)
    return f"::{kind} title={_escaped_data(title).replace(':', '%3A').replace(',', '%2C')}::{data}"


def _escaped_data(text: str) -> str:
    line = "".join(one if one.isprintable() or one in "\r\n" else "?" for one in text)
    return line.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
