"""What `reviewopt benchmark` finds out: the same reviews at every rival's price, beside runs of our own."""

from __future__ import annotations

from typing import Final, Literal

from reviewopt.accuracy import Estimate
from reviewopt.data import Frozen, schema_of
from reviewopt.paired import Paired
from reviewopt.record import UsdRange

SCHEMA_VERSION: Final = 1
# What may be done with an answer "mixed", which no label of a task means: such rows do not count, or it counts as
# neutral.
POLICIES: Final = ("dropped", "neutral")
Outcome = Literal["wins", "loses", "cheaper", "dearer", "faster", "slower", "no difference shown", "not known"]


class Reviews(Frozen, frozen=True, kw_only=True):
    """The reviews that everybody is priced on: rows with a text, and code points of what is sent of them."""

    names: tuple[str, ...]
    n_rows: int
    n_reviews: int
    mean_characters: float
    fingerprint: str


class Monthly(Frozen, frozen=True, kw_only=True):
    """What a month of so many reviews like these costs, USD.

    `parts` are the marginal tiers that it goes through: units, USD a unit, USD. `after_free_usd` is the list price less
    the free tier, null where there is none. It is shown apart, and nothing is compared with it.
    """

    n_reviews: int
    usd: str
    after_free_usd: str | None
    parts: tuple[tuple[int, str, str], ...]


class Live(Frozen, frozen=True, kw_only=True):
    """What a rival really answered on a seeded sample of the rows.

    `paired` compares it (b) with each run of ours (a) by its name, and by what is done with the rival's answer "mixed",
    which no label of the task means: `dropped` (such rows do not count) or `neutral`. `spent_usd` was charged in this
    run; answers that were bought earlier cost nothing again.
    """

    run_id: str
    n_sampled: int
    n_answered: int
    n_mixed: int
    seconds: float
    spent_usd: str
    is_simulated: bool
    paired: dict[str, dict[str, Paired]]


class Rival(Frozen, frozen=True, kw_only=True):
    """One rival at its list price, USD.

    `billing` says how it counts, `n_units` what it counts on these reviews; null for a model, whose tokens are
    estimated: `usd_range`. `seconds` follows from the documented rate limit in `limit`, or is a plan's estimate.
    `accuracy` is null where it was not measured: live alone tells. `free` says what its free tier is.
    """

    name: str
    kind: Literal["service", "model"]
    what: str
    billing: str
    n_units: int | None
    usd: str
    usd_range: UsdRange | None
    usd_per_1000: str
    after_free_usd: str | None
    free: str
    monthly: Monthly
    seconds: float | None
    limit: str
    accuracy: Estimate | None
    source: str
    as_of: str | None
    unverified: tuple[str, ...]
    remark: str
    live: Live | None


class Proven(Frozen, frozen=True, kw_only=True):
    """What a run's certificate proves: at least `accuracy_low` of the labels are the reference's."""

    reference: str
    target: float
    confidence: float
    accuracy_low: float | None
    is_met: bool
    reason: str
    n_reference_rows: int


class Own(Frozen, frozen=True, kw_only=True):
    """A run of ours on these reviews, measured.

    `parts` says by who was paid what `usd` is made of: models as charged, the machine for the seconds of the run, and
    `labels_of_people` where a price of one was given. `not_comparable` says why the cost is not that of labelling these
    reviews for the first time, where it is not; then nothing is saved and nobody is ahead. `monthly` is null below the
    reviews that a certified run had.
    """

    name: str
    run_id: str
    what: str
    usd: str
    parts: dict[str, str]
    not_comparable: str | None
    labels_of_people: int
    usd_per_1000: str
    monthly: Monthly | None
    seconds: float
    reviews_per_s: float | None
    accuracy: Estimate | None
    proven: Proven | None
    is_simulated: bool
    remarks: tuple[str, ...]


class Saving(Frozen, frozen=True, kw_only=True):
    """What a run of ours saves against a rival: share = 1 - own / rival, on these reviews at list price.

    `share` is null where that cannot be said, and `reason` says why. `basis` says what is known of accuracy; `reason`
    says where the money goes, where less than 80 % is saved.
    """

    own: str
    rival: str
    own_usd: str
    rival_usd: str
    share: float | None
    formula: str
    basis: str
    reason: str | None


class Verdict(Frozen, frozen=True, kw_only=True):
    """Who is ahead of whom on what: "wins" and "loses" are said only where both sides' accuracy is known.

    `why` says by which test the accuracy was judged, or why it is not known. `turns_at` is the monthly volume of
    reviews from which the rival costs less at list price, null: it does at none. Of a certified run volumes below its
    own are not known.
    """

    own: str
    rival: str
    cost: Outcome
    time: Outcome
    accuracy: Outcome
    why: str
    turns_at: int | None


class ScaleRow(Frozen, frozen=True, kw_only=True):
    """Reviews a month, whose that is or might be, and the USD of everybody by name; null: not measured so small."""

    n_reviews: int
    whose: str
    usd: dict[str, str | None]


class Benchmark(Frozen, frozen=True, kw_only=True):
    """The whole comparison; every key is always there, money is a decimal string, shares are 0 to 1.

    `summary` says the verdicts in words, those that are alike in one sentence; the last line is the plain run's.
    """

    schema_version: int
    made_at: str
    reviews: Reviews
    own: tuple[Own, ...]
    rivals: tuple[Rival, ...]
    savings: tuple[Saving, ...]
    scale: tuple[ScaleRow, ...]
    notes: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    summary: tuple[str, ...]


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of the comparison; `configs/benchmark.schema.json` is its committed form."""
    return schema_of(Benchmark)
