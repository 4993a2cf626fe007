"""How several models shared the questions, as a table and lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from reviewopt.record import LadderRecord, PackTuning, RungRecord
from reviewopt.render.parts import UNKNOWN, percent, plain, table, usd


def show_ladder(console: Console, ladder: LadderRecord) -> None:
    """Print what each rung did, and that nothing of it is certified."""
    title = "ladder" if ladder.is_certified else f"ladder, strategy {ladder.strategy}"
    made = table("rung", "stays from", "stayed", "climbed", "requests", "USD", "agrees", title=title)
    for rung in ladder.rungs:
        made.add_row(
            plain(rung.name),
            _threshold(rung),
            f"{rung.n_stayed:,}",
            f"{rung.n_climbed:,}",
            f"{rung.n_requests:,}",
            usd(rung.spent_usd),
            "reference" if rung.name == ladder.reference else _agreement(rung),
        )
    console.print(made)
    for line in _lines(ladder):
        console.print(plain(line), highlight=False, soft_wrap=True)


def _agreement(rung: RungRecord) -> str:
    return UNKNOWN if rung.agreement is None else percent(rung.agreement)


def _threshold(rung: RungRecord) -> str:
    if rung.threshold is None:
        return "left out"
    return "any" if rung.threshold == 0 else f"{rung.threshold:.3f}"


def _lines(ladder: LadderRecord) -> Iterator[str]:
    n_sampled = max((rung.n_sampled for rung in ladder.rungs), default=0)
    if n_sampled and ladder.is_certified:
        yield f"chosen on {n_sampled:,} rows of CAL against {ladder.reference}; the certificate says what is proven"
    elif n_sampled:
        yield (
            f"not certified: the thresholds were estimated on {n_sampled:,} reviews against {ladder.reference}, for "
            f"{percent(ladder.tolerance)} more disagreement than at the top"
        )
    levels = ", ".join(f"{n:,} {level}" for level, n in ladder.n_by_level.items() if n)
    if levels:
        yield f"by complexity: {levels}"
    for rung in ladder.rungs:
        if rung.packs is not None:
            yield packs_line(rung.packs, of=rung.name)
    if ladder.n_fallen_back:
        yield f"{ladder.n_fallen_back:,} texts have the answer of a cheaper model, because a better one gave none"
    yield from ladder.replans
    vote = ladder.ensemble
    if vote is not None:
        yield (
            f"vote of {', '.join(vote.members)}: {vote.n_asked:,} uncertain reviews, the models disagreed on "
            f"{vote.n_disagreed:,} ({vote.n_tied:,} without a majority), {usd(vote.spent_usd)}"
        )


def packs_line(found: PackTuning, *, of: str = "") -> str:
    """Say how the size of a model's packs was found."""
    steps = ", ".join(f"{one.size}: {percent(one.loss)}" for one in found.steps)
    name = f"packs of {of}" if of else "packs"
    before = "found in an earlier run" if found.is_remembered else "found on a sample"
    return (
        f"{name}: {found.size} reviews a request, {before}; answers lost by size, against {found.reference}: {steps} "
        f"(at most {percent(found.most_loss)}; not certified)"
    )
