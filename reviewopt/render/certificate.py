"""The certificate in plain words: the promise first, then how it was tested, and what it does not say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reviewopt.certificate import Attempt, Certificate, Drift, Slice
from reviewopt.drift import sentence
from reviewopt.render.parts import percent, plain, table

_MOST_SLICES: Final = 12
_MOST_DRIFTS: Final = 5
_NAME_CHARS: Final = 18
_NOISE: Final = Decimal("1e-12")  # of binary fractions; a share of rows is never so close below another
_PEOPLE: Final = "people"
_NO_BOUND: Final = "no bound was proven"
_NAMES_WIDTH: Final = 13
_STYLES: Final = {"drift": "yellow", "next": "bold"}


def show_certificate(console: Console, certificate: Certificate) -> None:
    """Print what is proven, how, from how many labels, and what is not."""
    is_proven = _is_proven(certificate)
    for text in _promise(certificate):
        console.print(plain(text), style="bold green" if is_proven else "bold red", highlight=False)
    console.print(_listed(_facts(certificate)))
    if certificate.slices:
        console.print(_slices(certificate))
    console.print(_listed(_limits(certificate)))
    console.print()


def line(certificate: Certificate) -> str:
    """Say on one line what is proven, or that it is not and why; nothing in it acts on a terminal."""
    who, why = _who(certificate), certificate.reason or _NO_BOUND
    said = f"not certified: that {_exact(certificate.target)} of the labels are those of {who}; {why}"
    if _is_proven(certificate):
        low, sure = at_least(certificate.accuracy_low), _exact(certificate.confidence)
        said = (
            f"certified: at least {low} of {certificate.n_rows:,} rows carry the label of {who}, at {sure} confidence; "
            f"{certificate.n_reference_saved:,} never needed it"
        )
    return plain(said).plain


def at_least(share: float | None) -> str:
    """Return a lower bound in percent, never rounded up: 0.94999 is 94.9 %."""
    if share is None or not math.isfinite(share):
        return "nothing"
    floored = (100 * (Decimal(repr(share)) + _NOISE)).quantize(Decimal("0.1"), rounding=ROUND_FLOOR)
    return f"{floored} %"


def _exact(share: float) -> str:
    """Return a share that somebody chose, with all its digits: 0.995 is 99.5 %."""
    return f"{(100 * Decimal(repr(share))).normalize():f} %"


def _listed(facts: Iterable[tuple[str, str]]) -> Table:
    """Put names at the left and their texts, wrapped, at the right."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True, min_width=_NAMES_WIDTH)
    made.add_column()
    for name, text in facts:
        made.add_row(plain(f"  {name}"), plain(text), style=_STYLES.get(name, ""))
    return made


def _is_proven(certificate: Certificate) -> bool:
    return certificate.is_met and certificate.accuracy_low is not None


def _who(certificate: Certificate) -> str:
    return _PEOPLE if certificate.kind == "human" else certificate.reference


def _promise(certificate: Certificate) -> Iterator[str]:
    who, sure = _who(certificate), _exact(certificate.confidence)
    low, target = at_least(certificate.accuracy_low), _exact(certificate.target)
    rows = f"of the {certificate.n_rows:,} rows with a text carry the label of {who}, at {sure} confidence"
    if _is_proven(certificate):
        yield f"Certified: at least {low} {rows}."
        return
    yield f"Not certified: that at least {target} {rows}."
    yield f"Why: {certificate.reason or _NO_BOUND}."
    if certificate.accuracy_low is not None:
        yield f"Proven all the same: at least {low}."


def _facts(certificate: Certificate) -> Iterator[tuple[str, str]]:
    yield "asked for", f"{_exact(certificate.target)} at {_exact(certificate.confidence)} confidence"
    if certificate.attempt > 1:
        risk = _exact(round(1 - certificate.confidence, 12))
        together = f"all of them together may be wrong with a chance of {risk}"
        held = f"so this one was held to {100 * certificate.delta:.3g} %"
        yield "attempt", f"the {_ordinal(certificate.attempt)} on this table and reference: {together}, {held}"
    yield "tested", _tested(certificate)
    yield "drawn", _drawn(certificate)
    if certificate.method != "all":
        yield "errors", _errors(certificate)
    if certificate.accuracy_seen is not None and certificate.method != "all":
        yield "estimate", f"{percent(certificate.accuracy_seen)} agree as far as the sample shows; this is no promise"
    yield "reference", _reference(certificate)
    if certificate.n_unproven:
        yield (
            "missing",
            f"{certificate.n_unproven:,} rows should have had the reference's answer and got none: counted as wrong",
        )
    repeated = certificate.self_agreement
    if repeated is not None:
        same = f"{_who(certificate)} gave the same answer to {repeated.n_equal:,} of {repeated.n:,} reviews"
        interval = f"95 % interval {100 * repeated.low:.1f} to {100 * repeated.high:.1f}"
        yield "asked twice", f"{same} ({percent(repeated.share)}; {interval})"
    yield "policy", _policy(certificate)
    yield "to repeat", f"table {certificate.table[:16]}, seed {certificate.seed[:16]}"


def _tested(certificate: Certificate) -> str:
    if certificate.method == "all":
        return "nothing to test: every row has the reference's own answer"
    if certificate.method == "cal":
        return "exactly (hypergeometric) on rows drawn at random from the whole table, copies included"
    tried = len(certificate.audits)
    again = f"; {tried:,} audits, each held more strictly than the one before" if tried > 1 else ""
    return (
        "the finished labels were frozen, then checked on rows drawn at random from the whole table, copies included, "
        f"by a test that may stop at any time{again}"
    )


def _drawn(certificate: Certificate) -> str:
    parts = [
        f"{n:,} {purpose}"
        for n, purpose in (
            (certificate.n_train, "to learn from"),
            (certificate.n_cal, "to test on" if certificate.method == "cal" else "to choose the policy by"),
            (certificate.n_audit, "to check the finished labels"),
        )
        if n
    ]
    return f"rows at random: {', '.join(parts)}" if parts else "no sample"


def _errors(certificate: Certificate) -> str:
    if certificate.method == "audit":
        return "; ".join(_audit(one) for one in certificate.audits) or (
            f"{certificate.n_errors:,} of {certificate.n_audit:,} checked labels differed"
        )
    most = certificate.most_errors
    allowed = "so few rows prove nothing, even without errors" if most is None else f"at most {most:,} may"
    return f"{certificate.n_errors:,} of the {certificate.n_cal:,} tested rows kept a label that differs; {allowed}"


def _audit(attempt: Attempt) -> str:
    if attempt.test == "cut":
        most = 0 if attempt.most_errors is None else attempt.most_errors
        gone = f"so the {attempt.n_escalated:,} riskiest rows went to the reference, which leaves"
        if not attempt.n_escalated:
            gone = "by a test of the whole sample no row had to go to the reference:"
        return f"{gone} {attempt.n_errors:,} errors where at most {most:,} may be"
    if not attempt.n_audited:
        return "no row was left to check"
    evidence = 0.0 if attempt.e_value is None else attempt.e_value
    return (
        f"{attempt.n_errors:,} of {attempt.n_audited:,} checked labels differed "
        f"({'passed' if attempt.passes else 'not passed'}: evidence {evidence:,.3g}, needed {1 / attempt.delta:,.3g})"
    )


def _reference(certificate: Certificate) -> str:
    n = certificate.n_reference_rows
    share = f" ({percent(n / certificate.n_rows)})" if certificate.n_rows else ""
    saved = f"{certificate.n_reference_saved:,} never needed it"
    asked = f"; {certificate.n_reference_calls:,} requests to it" if certificate.kind == "model" else ""
    return f"{n:,} rows{share} carry its own answer, {saved}{asked}"


def _policy(certificate: Certificate) -> str:
    n = len(certificate.policy_path)
    among = f"; one of {n:,}, fixed before the test" if n > 1 else ""
    return f"{certificate.policy}{among} (SHA-256 {certificate.policy_hash[:16]})"


def _slices(certificate: Certificate) -> Table:
    """Those that failed first; the certified ones are what everybody expects."""
    name = certificate.per or "slice"
    order = {"not met": 0, "not certified": 1, "certified": 2}
    shown = sorted(certificate.slices, key=lambda one: order[one.state])[:_MOST_SLICES]
    made = table(name, "rows", "tested", "errors", "most", "", title=f"a promise for each {name}")
    for one in shown:
        most = "" if one.most_errors is None else f"{one.most_errors:,}"
        counts = (f"{one.n_rows:,}", f"{one.n_sampled:,}", f"{one.n_errors:,}", most)
        made.add_row(plain(_short(one.name)), *counts, _state(one))
    left = len(certificate.slices) - len(shown)
    if left:
        made.caption = f"and {left:,} more, with --json"
        made.caption_justify = "left"
    return made


def _state(one: Slice) -> Text:
    if one.state == "certified" and one.accuracy_low is not None:
        return Text(f"at least {at_least(one.accuracy_low)}", style="green")
    return Text(one.state, style="red" if one.state == "not met" else "yellow")


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CHARS else f"{name[: _NAME_CHARS - 1]}…"


def _limits(certificate: Certificate) -> Iterator[tuple[str, str]]:
    for at, text in enumerate(_drifts(certificate.drift)):
        yield "" if at else "drift", text
    for at, text in enumerate(certificate.does_not_cover):
        yield "" if at else "not covered", text
    if not _is_proven(certificate):
        yield "next", _next(certificate)


def _drifts(found: Sequence[Drift]) -> Iterator[str]:
    if not found:
        return
    n_chunks = len({(one.first_row, one.last_row) for one in found})
    noun = "chunk is" if n_chunks == 1 else "chunks are"
    yield (
        f"{n_chunks:,} {noun} unlike the sample: what is proven of the whole table holds all the same, but nothing is "
        "of these rows alone"
    )
    for one in found[:_MOST_DRIFTS]:
        yield sentence(one)
    if len(found) > _MOST_DRIFTS:
        yield f"and {len(found) - _MOST_DRIFTS:,} more, with --json"


def _next(certificate: Certificate) -> str:
    repeated = certificate.self_agreement
    if repeated is not None and repeated.high < certificate.target:
        return (
            f"a --target below {percent(repeated.high)}: {_who(certificate)} agrees with itself no more often, so no "
            "other labels can agree with it more"
        )
    if certificate.kind == "human":
        return "answer more of the drawn rows with `reviewopt review`, then label the table again"
    if certificate.n_unproven and certificate.kind == "column":
        return f"fill the gaps of {certificate.reference}, then label the table again"
    if certificate.n_unproven:
        return "label the table again: rows that the reference gave no answer to are asked once more"
    less = "a lower --target; it counts as a further attempt, and each is tested more strictly than the one before"
    if certificate.accuracy_seen is not None and certificate.accuracy_seen < certificate.target:
        return f"a better model in between, or {less}"
    return f"a larger sample (certificate.cal, certificate.audit), or {less}"


def _ordinal(n: int) -> str:
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n:,}{ending}"
