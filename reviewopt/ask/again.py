"""What becomes of the reviews of a request once its reply is known: answered, asked again, or given up. Pure.

A reply that fits partly is kept partly; what is missing goes out again in packs of half the size, until a review is
alone. So a text that is refused is known after at most 2 ceil(log2 n) + 1 requests, n being the first pack's size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reviewopt.check import Answer, Checked
from reviewopt.data import Question, Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Reviews that go out together.

    `n_alone` counts requests in which its only review got no valid answer, and `n_valid` says how many answers of
    others the run had at the first of them; `n_attempts` counts the requests in a row that the endpoint failed;
    `was_part`: cut out of a pack that did not work; `was_spoiled`: it came back spoiled as a whole once; `is_again`: it
    was sent before.
    """

    questions: tuple[Question, ...]
    n_alone: int = 0
    n_valid: int = 0
    n_attempts: int = 0
    was_part: bool = False
    was_spoiled: bool = False
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """A question that is not asked any more: its answer, or the reason why there is none.

    `is_of_text`: the reason lies in the review itself, so that a later run need not try again.
    """

    question: Question
    answer: Answer | None
    reason: str = ""
    n_tries: int = 1
    is_of_text: bool = False


@dataclass(frozen=True, slots=True)
class Next:
    """What a reply leads to."""

    done: tuple[Done, ...]
    again: tuple[Pack, ...]


def after_reply(
    pack: Pack, reply: Reply, checked: Checked, *, most_tries: int, n_valid: int = 0, is_only_one: bool = False
) -> Next:
    """Sort the reviews of a pack whose reply was answered, refused or spoiled.

    Args:
        pack: what was asked.
        reply: what came back.
        checked: what of it counts.
        most_tries: how often a lone review is asked.
        n_valid: how many answers the run has by now.
        is_only_one: whether others were answered, and no other review has failed since.
    """
    done = tuple(Done(pack.questions[at], answer, n_tries=pack.n_alone + 1) for at, answer in checked.answers.items())
    missing = [pack.questions[at] for at in sorted(checked.missing)]
    if not missing:
        return Next(done, ())
    if len(pack.questions) == 1:
        return _alone(pack, reply, checked.missing[0], most_tries, n_valid, is_only_one=is_only_one)
    if reply.outcome == "spoiled" and reply.is_charged and not done and not pack.was_spoiled:
        return Next(done, (replace(pack, was_spoiled=True, is_again=True, n_attempts=0),))
    size = -(-len(pack.questions) // 2)
    parts = [tuple(missing[start : start + size]) for start in range(0, len(missing), size)]
    return Next(
        done, tuple(replace(pack, questions=part, was_part=True, is_again=True, n_attempts=0) for part in parts)
    )


def _alone(pack: Pack, reply: Reply, reason: str, most_tries: int, n_valid: int, *, is_only_one: bool) -> Next:
    """Ask a lone review again, unless it was tried enough; one that is refused in company and alone is.

    It is the review's own fault only where others were answered in the meantime: else it may be the endpoint's.
    """
    first_valid = pack.n_valid if pack.n_alone else n_valid
    n_alone, is_refused = pack.n_alone + 1, reply.outcome == "refused"
    if n_alone >= most_tries or (is_refused and pack.was_part):
        n_tries = n_alone + int(pack.was_part)
        is_of_text = is_refused or is_only_one or n_valid > first_valid
        return Next((Done(pack.questions[0], None, reason, n_tries, is_of_text=is_of_text),), ())
    return Next((), (replace(pack, n_alone=n_alone, n_valid=first_valid, is_again=True, n_attempts=0),))


def after_failure(pack: Pack, reply: Reply, *, most_attempts: int, counts: bool) -> Next:
    """Send a pack again that the endpoint failed; with `counts`, only so often."""
    n_attempts = pack.n_attempts + int(counts)
    if n_attempts >= most_attempts:
        return given_up(pack, f"the endpoint failed {n_attempts} times: {reply.reason}")
    return Next((), (replace(pack, n_attempts=n_attempts, is_again=True),))


def given_up(pack: Pack, reason: str) -> Next:
    """Leave all reviews of a pack unanswered, for a reason that is not theirs."""
    n_tries = pack.n_attempts + pack.n_alone
    return Next(tuple(Done(one, None, reason, n_tries) for one in pack.questions), ())
