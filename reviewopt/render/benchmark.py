"""A comparison as tables for a terminal or for Markdown; the verdict is the last thing said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Console

from reviewopt.accuracy import Estimate
from reviewopt.benchmark import Benchmark
from reviewopt.benchmark.record import Own, Rival
from reviewopt.paired import Paired
from reviewopt.render import sheets
from reviewopt.render.parts import UNKNOWN, plain, usd
from reviewopt.render.sheets import Sheet, escaped

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_OURS: Final = "reviewopt "


def show(console: Console, made: Benchmark) -> None:
    """Print a comparison."""
    console.print(plain(_heading(made)), highlight=False, soft_wrap=True)
    for whole in _sheets(made):
        sheets.show(console, whole)
    for line in _remarks(made):
        console.print(plain(line), highlight=False, soft_wrap=True)
    for line in made.summary:
        console.print(plain(line), style="bold", highlight=False, soft_wrap=True)


def markdown(made: Benchmark) -> str:
    """Return a comparison as Markdown, for a wiki or a job's summary."""
    parts = [f"## {escaped(_heading(made))}"]
    parts += [sheets.markdown(sheet) for sheet in _sheets(made)]
    parts.append("\n".join(f"- {escaped(line)}" for line in _remarks(made)))
    parts.append("\n\n".join(f"**{escaped(line)}**" for line in made.summary))
    return "\n\n".join(parts) + "\n"


def _heading(made: Benchmark) -> str:
    reviews = made.reviews
    empty = f" of {reviews.n_rows:,} rows" if reviews.n_rows != reviews.n_reviews else ""
    return (
        f"{', '.join(reviews.names)} · {reviews.n_reviews:,} reviews{empty} · "
        f"{reviews.mean_characters:,.0f} characters on average"
    )


def _sheets(made: Benchmark) -> Iterator[Sheet]:
    yield _bill(made)
    if any(one.live is not None for one in made.rivals):
        yield _live(made)
    yield _scale(made)


def _bill(made: Benchmark) -> Sheet:
    """Everybody on these reviews, and what each run of ours saves."""
    saved = {(one.own, one.rival): one.share for one in made.savings}
    rows = [(*_costs(one), *("" for _ in made.own), _time(one.seconds), _share(one.accuracy)) for one in made.own]
    for rival in made.rivals:
        shares = [_percent(saved[own.name, rival.name]) for own in made.own]
        rows.append((*_costs(rival), *shares, _limited(rival), _share(rival.accuracy)))
    ours = [f"saved{f', {_called(one.name)}' if at else ''}" for at, one in enumerate(made.own)]
    return Sheet(head=("list price", "these", "per 1,000", *ours, "time", "accuracy, %"), rows=tuple(rows))


def _costs(one: Own | Rival) -> tuple[str, str, str]:
    return _called(one.name), usd(one.usd), usd(one.usd_per_1000)


def _called(name: str) -> str:
    """Shorten the name of a run of ours beside the plain one."""
    return name.removeprefix(_OURS)


def _limited(rival: Rival) -> str:
    return "no limit known" if rival.seconds is None else f"{_time(rival.seconds)} *"


def _time(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.1f} days"


def _share(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
        return UNKNOWN
    return f"{100 * estimate.value:.1f} ({100 * estimate.low:.1f}-{100 * estimate.high:.1f})"


def _live(made: Benchmark) -> Sheet:
    """What rivals really answered beside each run of ours, by what "mixed" counts as."""
    rows = []
    for one in made.rivals:
        if one.live is None:
            continue
        for own, policies in one.live.paired.items():
            beside = f", beside {_called(own)}" if len(one.live.paired) > 1 else ""
            shown = policies.items() if one.live.n_mixed else list(policies.items())[-1:]
            for policy, paired in shown:
                name = f"{one.name}{f', mixed {policy}' if one.live.n_mixed else ''}{beside}"
                rows.append((name, f"{paired.n:,}", _share(paired.agreement), *_right(paired)))
    head = ("asked", "reviews", "agree, %", "ours, %", "theirs, %", "right alone", "p")
    return Sheet(head=head, rows=tuple(rows))


def _right(paired: Paired) -> tuple[str, str, str, str]:
    if paired.p_value is None:
        return UNKNOWN, UNKNOWN, "", ""
    ours, theirs = paired.accuracy_a.value or 0, paired.accuracy_b.value or 0
    alone = f"{paired.n_only_a_right:,} : {paired.n_only_b_right:,}"
    return f"{100 * ours:.1f}", f"{100 * theirs:.1f}", alone, f"{paired.p_value:.2g}"


def _scale(made: Benchmark) -> Sheet:
    """Everybody at other volumes, for three companies, and for the user's own month."""
    names = [one.name for one in made.own] + [one.name for one in made.rivals]
    rows = [(f"{row.n_reviews:,} {row.whose}".strip(), *(_dash(row.usd[name]) for name in names)) for row in made.scale]
    return Sheet(head=("USD a month", *map(_called, names)), rows=tuple(rows))


def _dash(amount: str | None) -> str:
    return "-" if amount is None else usd(amount)


def _remarks(made: Benchmark) -> Iterator[str]:
    for own in made.own:
        yield f"{own.name}: {own.what}, run {own.run_id}{_proof(own)}{''.join(f'; {one}' for one in own.remarks)}"
    for rival in made.rivals:
        yield _rival_line(rival)
    if any(one.seconds is not None for one in made.rivals):
        yield "* at the documented rate limit, or as planned; ours is measured"
    yield from _saving_lines(made)
    yield from made.notes


def _proof(own: Own) -> str:
    proven = own.proven
    if proven is None:
        return ""
    what = f"{100 * proven.target:g} % against {proven.reference} at {proven.confidence:g} confidence"
    if not proven.is_met:
        return f"; not certified at {what}: {proven.reason}"
    low = "" if proven.accuracy_low is None else f", at least {100 * proven.accuracy_low:.2f} %"
    return f"; certified at {what}{low}"


def _rival_line(rival: Rival) -> str:
    """Say how a rival's price comes about, and what of it is not certain."""
    units = "" if rival.n_units is None else f"{rival.n_units:,} "
    free = ""
    if rival.free:
        after = "" if rival.after_free_usd is None else f", {usd(rival.after_free_usd)} after it"
        free = f"; free tier: {rival.free}{after}"
    between = ""
    if rival.usd_range is not None and rival.usd_range.low != rival.usd_range.high:
        between = f"; between {usd(rival.usd_range.low)} and {usd(rival.usd_range.high)}"
    limit = f"; {rival.limit}" if rival.limit else ""
    doubt = f"; not verified: {', '.join(rival.unverified)}" if rival.unverified else ""
    of_day = "" if rival.as_of is None else f", {rival.as_of}"
    remark = f"; {rival.remark}" if rival.remark else ""
    if rival.live is not None:
        simulated = " (simulated: no real one answered)" if rival.live.is_simulated else ""
        n, took = f"{rival.live.n_sampled:,} reviews", _time(rival.live.seconds)
        if rival.live.n_answered < rival.live.n_sampled:
            n += f", of which {rival.live.n_answered:,} have an answer,"
        remark += f"; asked about {n} in {took} for {usd(rival.live.spent_usd)}{simulated}"
    return (
        f"{rival.name}: {rival.what}: {units}{rival.billing}{between}{free}{limit}{doubt}{remark} "
        f"({rival.source}{of_day})"
    )


def _saving_lines(made: Benchmark) -> Iterator[str]:
    """Say how the savings were worked out, and why one is smaller than expected or not known."""
    yield "saved: 1 - ours / theirs at list price, on these reviews"
    unsaid: dict[tuple[str, str], list[str]] = {}
    for one in made.savings:
        if one.share is None:
            unsaid.setdefault((one.own, one.reason or ""), []).append(one.rival)
            continue
        word = f"saves {_percent(one.share)} against" if one.share >= 0 else f"costs {_percent(-one.share)} more than"
        reason = "" if one.reason is None else f"; under 80 %: {one.reason}"
        yield f"{one.own} {word} {one.rival}: {one.formula}; {one.basis}{reason}"
    for (own, reason), rivals in unsaid.items():
        yield f"{own} against {', '.join(rivals)}: what is saved is not known, as {reason}"


def _percent(share: float | None) -> str:
    """Return a share that is never told as all of it where it is not."""
    if share is None:
        return "-"
    left = 1 - share
    places = 1 if left >= 0.001 else 3 if left >= 0.00001 else 5
    return f"{100 * share:.{places}f} %"
