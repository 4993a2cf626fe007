"""A comparison of two outputs for a terminal, the verdict last. Foreign text is neither markup nor escape codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from reviewopt.accuracy import Estimate
from reviewopt.compare import Comparison
from reviewopt.compare.values import Difference, GroupFigures, Mixed, Side
from reviewopt.paired import Paired
from reviewopt.render.parts import UNKNOWN, percent, plain, table, usd

_MOST_GROUPS: Final = 6
_MOST_LABELS: Final = 8  # whose table is still a table; the others with --json
_MOST_WORDS: Final = 6
_NAME_CHARS: Final = 18
_ID_SHARE: Final = 0.2  # of the width
_LEAST_TEXT_CHARS: Final = 16
_MANY_COPIES: Final = 0.02
_NOTHING: Final = "-"
_GAP: Final = 3  # cells between two columns
_EDGES: Final = 2
_ANY_WIDTH: Final = 10_000
_PAIRED: Final = ("rows", "agree, %", "A right, %", "B right, %", "p")


def show_comparison(console: Console, made: Comparison) -> None:
    """Print what was compared, the figures, where they differ, and who is better."""
    for letter, side in (("A", made.a), ("B", made.b)):
        console.print(plain(f"{letter}: {_said(side)}"), highlight=False, soft_wrap=True)
    console.print(plain(_matching(made)), highlight=False, soft_wrap=True)
    for shown in _tables(made, console.width):
        _show(console, shown)
    for line in _remarks(made):
        console.print(plain(line), style="yellow", highlight=False, soft_wrap=True)
    console.print(plain(verdict(made)), style="bold", highlight=False, soft_wrap=True)


def _tables(made: Comparison, width: int) -> Iterator[Table]:
    yield _figures(made)
    if made.mixed is not None:
        yield _policies(made, made.mixed)
    if made.a.n_by_source or made.b.n_by_source:
        yield _sources(made)
    if len(made.labels) <= _MOST_LABELS:
        yield _confusion(made)
    for kind in ("category", "tenant"):
        groups = [group for group in made.groups if group.kind == kind]
        if len(groups) > 1:
            yield _groups(kind, groups, has_truth=made.overall.n_labelled > 0)
    if made.differences:
        yield _differences(made, width)


def _show(console: Console, shown: Table) -> None:
    """Print a table, or its cells below each other where the terminal is too narrow: no figure is ever cut."""
    if Measurement.get(console, console.options.update(width=_ANY_WIDTH), shown).maximum <= console.width:
        console.print(shown)
        return
    names = [str(column.header) for column in shown.columns]
    lines = [str(shown.title)] if shown.title else []
    for first, *cells in zip(*(column.cells for column in shown.columns), strict=True):
        lines.append(f"{names[0]}: {first}" if names[0] else str(first))
        lines += [f"  {name}: {cell}" for name, cell in zip(names[1:], cells, strict=True) if str(cell)]
    lines += [str(shown.caption)] if shown.caption else []
    for line in ("", *lines, ""):
        console.print(plain(line), highlight=False, soft_wrap=True)


def verdict(made: Comparison) -> str:
    """Say in plain words who is right more often, or that none is shown to be."""
    found = made.overall
    agree = f"A and B agree on {share(found.agreement)} % of {_rows(found.n)}"
    if found.p_value is None:
        return f"{agree}; which is right more often is not known without a truth: --label-column NAME"
    first, second = ("B", "A") if found.n_only_b_right >= found.n_only_a_right else ("A", "B")
    n_first, n_second = sorted((found.n_only_a_right, found.n_only_b_right), reverse=True)
    if not n_first:
        return f"{agree}, and are right on the same of the {found.n_labelled:,} whose truth is known"
    said = "no difference shown" if made.better is None else f"{made.better.upper()} is more accurate"
    return (
        f"{agree}; {first} is right on {_rows(n_first)} where {second} is wrong, {second} on {n_second:,}: "
        f"{p_words(found.p_value)} (exact McNemar){_without(made.mixed)}: {said}"
    )


def _without(mixed: Mixed | None) -> str:
    if mixed is None:
        return ""
    p_value = mixed.dropped.p_value
    said = "no row with a truth is left" if p_value is None else p_words(p_value)
    return f", {said} without the rows called mixed"


def _rows(n: int) -> str:
    return f"{n:,} {'row' if n == 1 else 'rows'}"


def p_words(p_value: float) -> str:
    """Write a p-value as papers do: p = .005, p < .0001."""
    if p_value < 0.0001:
        return "p < .0001"
    return f"p = {f'{p_value:.3g}'.removeprefix('0')}"


def share(estimate: Estimate) -> str:
    """Write a share in percent with its interval."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return UNKNOWN
    value, low, high = (
        f"{100 * one:.1f}".replace("100.0", "100") for one in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low}-{high})"


def _gap(estimate: Estimate) -> str:
    """Write a difference in points with its interval; its ends may be negative, so that no dash joins them."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return UNKNOWN
    value, low, high = (f"{100 * one:+.1f}" for one in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def _said(side: Side) -> str:
    return f"{', '.join(side.inputs)} · {side.column} · {_rows(side.n_rows)}"


def _matching(made: Comparison) -> str:
    how = "matched by id" if made.matched_by == "id" else "the same texts row by row"
    others = [f"{n:,} only in {side}" for side, n in (("A", made.n_only_a), ("B", made.n_only_b)) if n]
    truth = "no truth is known" if made.truth is None else f"truth: {made.truth.column} of {made.truth.side.upper()}"
    return "; ".join([f"{_rows(made.n_matched)} in both, {how}", *others, truth])


def _figures(made: Comparison) -> Table:
    found = made.overall
    rows = [("answered", f"{made.a.n_answered:,}", f"{made.b.n_answered:,}", "")]
    if found.n_labelled:
        rows.append(("accuracy, %", share(found.accuracy_a), share(found.accuracy_b), _gap(found.difference)))
        rows.append(("right alone", f"{found.n_only_a_right:,}", f"{found.n_only_b_right:,}", ""))
    if made.a.usd is not None or made.b.usd is not None:
        rows.append(("cost", _usd(made.a.usd), _usd(made.b.usd), _usd(made.usd_difference, "")))
        per_1000 = (_usd(made.a.usd_per_1000), _usd(made.b.usd_per_1000), _usd(made.usd_difference_per_1000, ""))
        rows.append(("cost of 1,000", *per_1000))
    shown = table("", "A", "B", "A less B")
    for row in rows:
        shown.add_row(*map(plain, row))
    return shown


def _policies(made: Comparison, mixed: Mixed) -> Table:
    """Return both meanings of mixed: it is no label of the task, and what it counts as is a choice."""
    has_truth = made.overall.n_labelled > 0
    shown = table("rows called mixed", *_PAIRED[: None if has_truth else 2])
    for name, found in ((f"count as {mixed.label}", made.overall), ("left out", mixed.dropped)):
        shown.add_row(plain(name), *_cells(found, found.p_value, has_truth=has_truth))
    return shown


def _cells(found: Paired, p_value: float | None, *, has_truth: bool) -> tuple[str, ...]:
    p_said = UNKNOWN if p_value is None else p_words(p_value).removeprefix("p ").removeprefix("= ")
    right = (_percent(found.accuracy_a), _percent(found.accuracy_b), p_said) if has_truth else ()
    return (f"{found.n:,}", _percent(found.agreement), *right)


def _sources(made: Comparison) -> Table:
    shown = table("answered by", "A", "B")
    for name in dict.fromkeys([*(made.a.n_by_source or {}), *(made.b.n_by_source or {})]):
        shown.add_row(plain(_cut(name, _NAME_CHARS)), _from(made.a, name), _from(made.b, name))
    return shown


def _from(side: Side, name: str) -> str:
    return UNKNOWN if side.n_by_source is None else f"{side.n_by_source.get(name, 0):,}"


def _usd(amount: str | None, missing: str = UNKNOWN) -> str:
    return missing if amount is None else usd(amount)


def _confusion(made: Comparison) -> Table:
    shown = table("A \\ B", *made.labels, title="labels of both, rows")
    for label, row in zip(made.labels, made.confusion, strict=True):
        shown.add_row(plain(label), *(f"{n:,}" for n in row))
    return shown


def _groups(kind: str, groups: list[GroupFigures], *, has_truth: bool) -> Table:
    shown = table(kind, *_PAIRED[:4], "p (Holm)") if has_truth else table(kind, *_PAIRED[:2])
    for one in groups[:_MOST_GROUPS]:
        shown.add_row(plain(_cut(one.group, _NAME_CHARS)), *_cells(one.figures, one.p_adjusted, has_truth=has_truth))
    if len(groups) > _MOST_GROUPS:
        shown.caption = f"the largest {_MOST_GROUPS} of {len(groups):,}; the others with --json"
        shown.caption_justify = "left"
    return shown


def _percent(estimate: Estimate) -> str:
    return UNKNOWN if estimate.value is None else f"{100 * estimate.value:.1f}"


def _differences(made: Comparison, width: int) -> Table:
    names = ("review", "A", "B", *(() if made.truth is None else ("truth",)))
    cells, taken = _of_differences(made, names, int(_ID_SHARE * width))
    if taken + _LEAST_TEXT_CHARS > width:  # no table then, and room for the whole ids
        cells, taken = _of_differences(made, names, _ANY_WIDTH)
    shown = table(*names, "example", title=f"where they differ most, of {_rows(made.n_differ)}")
    for one, row in zip(made.differences, cells, strict=True):
        alike = f"({one.n_alike:,} alike) " if one.n_alike > 1 else ""
        shown.add_row(*map(plain, row), plain(alike + " ".join(one.text.split())))
    shown.columns[-1].max_width = max(_LEAST_TEXT_CHARS, width - taken)
    return shown


def _of_differences(made: Comparison, names: tuple[str, ...], id_chars: int) -> tuple[list[tuple[str, ...]], int]:
    """Return the cells beside the examples, and how many columns of the terminal they take."""
    cells = [_row(one, id_chars, has_truth=made.truth is not None) for one in made.differences]
    return cells, sum(max(map(cell_len, column)) + _GAP for column in zip(names, *cells, strict=True)) + _EDGES


def _row(one: Difference, id_chars: int, *, has_truth: bool) -> tuple[str, ...]:
    labels = (_sure(one.label_a, one.confidence_a), _sure(one.label_b, one.confidence_b))
    return (_ends(one.review_id, id_chars), *labels, *((one.truth or _NOTHING,) if has_truth else ()))


def _ends(text: str, most: int) -> str:
    """Cut a long id in its middle: what tells ids apart is often at their end."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most - most // 2) :]}"


def _sure(label: str, confidence: float | None) -> str:
    return label if confidence is None else f"{label} {f'{confidence:.2f}'.removeprefix('0')}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _remarks(made: Comparison) -> Iterator[str]:
    n_rows = made.n_matched - made.n_other_texts
    copies = made.n_copies / n_rows
    if made.overall.n_labelled and copies > _MANY_COPIES:
        yield (
            f"copies of earlier rows: {made.n_copies:,} ({percent(copies)}); the test and the intervals "
            "take each row as a case of its own, and are too sure for so many copies"
        )
    if made.n_other_texts:
        yield f"left out of every figure of both: {_rows(made.n_other_texts)} with the same id and another text in B"
    if n_rows > made.overall.n:
        yield f"not compared: {_rows(n_rows - made.overall.n)} where A or B has no label"
    yield from _of_truth(made)
    for letter, side in (("A", made.a), ("B", made.b)):
        yield from _of_side(letter, side)
    yield from made.notes


def _of_truth(made: Comparison) -> Iterator[str]:
    if made.truth is None:
        return
    n_unknown = made.overall.n - made.overall.n_labelled
    if n_unknown:
        yield f"without a truth: {_rows(n_unknown)}; accuracy is that of the other {made.overall.n_labelled:,}"
    if made.truth.n_differ:
        yield (
            f"the tables do not know the same truth: {made.truth.column} differs in {made.truth.n_differ:,} of the "
            f"{_rows(made.truth.n_in_both)} where both have it; that of {made.truth.side.upper()} counts"
        )


def _of_side(letter: str, side: Side) -> Iterator[str]:
    if side.n_mapped:
        words = [f"{one.word}={one.label} ({one.n:,})" for one in side.mapped[:_MOST_WORDS]]
        n_others = side.n_mapped - sum(one.n for one in side.mapped[:_MOST_WORDS])
        others = [f"{n_others:,} in others, with --json"] if n_others else []
        said = ", ".join([*words, *others])
        yield f"{letter} has words of its own for {side.n_mapped:,} of its {side.n_answered:,} labels: {said}"
    if side.n_with_cost and side.n_without_cost:
        yield (
            f"{letter} says no cost for {side.n_without_cost:,} of its {side.n_answered:,} labels: what they cost "
            f"in all is not known, and the cost of 1,000 is that of the {_rows(side.n_with_cost)} that have one"
        )
