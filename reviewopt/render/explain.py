"""Where a review's answer came from, for a terminal. Foreign text is neither markup nor escape codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Console

from reviewopt.explain import Explained, Explanation, Failed, Sent, Stored
from reviewopt.render.parts import UNKNOWN, percent, plain, usd

_TEXT_CHARS: Final = 300
_SOURCE_WORDS: Final = {
    "empty": "it has no text, so there was nothing to ask",
    "exact": "a copy: an earlier review has the same text, and its answer was taken",
    "near": "a near copy: the answer of a review that says nearly the same was taken",
    "l1": "the cache (tier 1, in memory): the same text was answered before",
    "l2": "the cache (tier 2, the most popular answers): it was answered before",
    "l3": "the cache (tier 3, the archive): it was answered before",
    "failed": "it stayed unanswered",
    "human": "a person said so, with reviewopt review",
}
_COLUMN: Final = "column:"
_GIVEN_WORDS: Final = {"human": "a person said so", "warm": "labelled history said so"}


def show_explanation(console: Console, explanation: Explanation) -> None:
    """Print where the answers of a review came from."""
    simulated = " (simulated: no real model answered)" if explanation.is_simulated else ""
    head = f"{explanation.output} · task {explanation.task} · run {explanation.run_id}{simulated}"
    console.print(plain(head), highlight=False, soft_wrap=True)
    if explanation.n_rows > 1:
        shown = (
            f", the first {len(explanation.rows)} of them here" if explanation.n_rows > len(explanation.rows) else ""
        )
        text = f"{explanation.n_rows:,} rows have the id {explanation.review_id}{shown}"
        console.print(plain(text), style="yellow", soft_wrap=True)
    for row in explanation.rows:
        console.print()
        _show_row(console, explanation, row, depth=0)
    console.print()
    console.print(plain("next: reviewopt report, for the whole run"), highlight=False, soft_wrap=True)


def _show_row(console: Console, explanation: Explanation, row: Explained, *, depth: int) -> None:
    """Print a row, then the one whose answer it took, set in below it."""
    indent = "    " * depth
    console.print(plain(f"{indent}review {row.review_id} (row {row.row:,})"), style="bold", highlight=False)
    for line in _lines(explanation, row):
        console.print(plain(f"{indent}{line}"), highlight=False, soft_wrap=True)
    for remark in row.remarks:
        console.print(plain(f"{indent}{remark}"), style="yellow", highlight=False, soft_wrap=True)
    if row.shared_from is not None:
        alike = "the same text" if row.similarity == 100 else f"similarity {row.similarity:g} of 100"
        verb = "the review that was asked in its place" if row.source == "failed" else "the review whose answer it took"
        console.print(plain(f"{indent}{verb} ({alike}):"), highlight=False, soft_wrap=True)
        _show_row(console, explanation, row.shared_from, depth=depth + 1)


def _lines(explanation: Explanation, row: Explained) -> Iterator[str]:
    title = f"{row.title}: " if row.title else ""
    yield f"text: {_short(title + (row.text or '')) or 'none'}"
    if row.label is not None:
        sure = UNKNOWN if row.confidence is None else percent(row.confidence)
        yield f"label: {row.label} (confidence {sure})"
    for name, value in row.others.items():
        if row.label is not None:
            yield f"{name}: {'none' if value is None else _short(value)}"
    yield f"source: {row.source}: {_source_words(explanation, row)}"
    yield f"cost: {usd(row.cost_usd)}"
    if row.note is not None:
        yield f"note: {_short(row.note)}"
    if row.duplicate_of is not None and row.source not in {"exact", "near"}:
        yield f"its group: it says nearly the same as the review {row.duplicate_of}, but has an answer of its own"
    if row.stored is not None:
        yield from _stored_lines(row.stored)
    if row.failure is not None:
        yield from _failure_lines(row.failure)
    if row.requests:
        yield from _request_lines(row.requests)


def _source_words(explanation: Explanation, row: Explained) -> str:
    if row.source in _SOURCE_WORDS:
        return _SOURCE_WORDS[row.source]
    model = explanation.models.get(row.source, explanation.model)
    if row.source == "local":
        return f"the model {model} in this process, priced as its share of the machine's hour"
    if row.source == "reference" and model.startswith(_COLUMN):
        return f"the label of {model}, the reference of the run's certificate"
    if row.source == "reference":
        return (
            f"the own answer of {model}, the reference, to this review alone: of this run, or kept from an earlier one"
        )
    if row.source == "ensemble":
        return f"a vote of {model}: no rung of the ladder was sure of it"
    return f"the model {model} answered it in this run"


def _stored_lines(stored: Stored) -> Iterator[str]:
    who = _GIVEN_WORDS.get(stored.source, f"the model {stored.model} answered")
    packed = "" if stored.is_packed is None else ", several reviews a request" if stored.is_packed else ", asked alone"
    run = "" if stored.run_id is None else f", in the run {stored.run_id}"
    yield f"stored answer: {who} on {stored.made_at}{run}{packed}; it cost {usd(stored.cost_usd)} then"
    asker = "a review without an id" if stored.review_id is None else f"the review {stored.review_id}"
    alike = "the same text" if stored.is_same_text else f"a similar text, similarity {stored.similarity:g} of 100"
    yield f"first asked for {asker}, {alike}: {_short(stored.text)}"


def _failure_lines(failure: Failed) -> Iterator[str]:
    tries = (
        "" if failure.n_tries is None else f" after {failure.n_tries:,} {'try' if failure.n_tries == 1 else 'tries'}"
    )
    asked = tries if failure.was_asked else ", in an earlier run; this run left it alone"
    yield f"reason: {_short(failure.reason)}{asked}"
    yield f"what to do: {failure.advice}"


def _request_lines(requests: tuple[Sent, ...]) -> Iterator[str]:
    n, models = len(requests), dict.fromkeys(f"{one.model} at {one.endpoint}" for one in requests)
    whole = f"{n:,} {'request' if n == 1 else 'requests'}"
    yield f"asked in {whole} that may have been charged, of {' and '.join(models)}"
    for number, one in enumerate(requests, 1):
        outcome = one.outcome.replace("_", " ")
        if one.outcome == "answered" and not one.is_answer:
            outcome = "answered, but what counts came later"
        size = "this review alone" if one.n_reviews == 1 else f"{one.n_reviews:,} reviews"
        asked = f" {one.model}" if len(models) > 1 else ""
        yield f"  {number}. {one.settled_at}:{asked} {outcome} after {one.seconds:.2f} s; {size}; {_tokens(one)}"
        share = "" if one.n_reviews == 1 else f", this review's share {usd(one.share_usd)}"
        yield f"     cost {usd(one.cost_usd)}{share}; request id {one.request_id or 'not told'}"


def _tokens(sent: Sent) -> str:
    if sent.input_tokens is None or sent.output_tokens is None:
        return "tokens not told, so charged at the worst case"
    cached = f", {sent.cached_tokens:,} of them cached" if sent.cached_tokens else ""
    return f"{sent.input_tokens:,} tokens in{cached}, {sent.output_tokens:,} out"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEXT_CHARS else line[: _TEXT_CHARS - 1] + "…"
