"""What can be set, each with its type and bounds; `configs/default.toml` has the defaults and a sentence on each."""

from __future__ import annotations

import math
import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from reviewopt.data import Frozen
from reviewopt.errors import UsageError

Strategy = Literal["cost", "quality", "performance", "balanced", "adaptive"]


_DURATION: Final = re.compile(
    r"(?:([0-9.]+) ?h(?:ours?)?)? ?(?:([0-9.]+) ?m(?:in(?:utes?)?)?)? ?(?:([0-9.]+) ?s(?:ec(?:onds?)?)?)?"
)


def parse_duration(text: str) -> float | None:
    """Return the seconds of "90s", "10m", "2h" or "1h30m"; None where nothing is written.

    Raises:
        UsageError: it is no length of time, or none above 0.
    """
    written = text.strip().lower()
    if not written:
        return None
    found = _DURATION.fullmatch(written)
    try:
        hours, minutes, seconds = (float(part or 0) for part in (found.groups() if found else ("", "", "")))
    except ValueError:  # 1.2.3
        hours = minutes = seconds = 0.0
    total_s = 3600 * hours + 60 * minutes + seconds
    if not total_s:
        raise UsageError(f"deadline {text!r}: how long a run may ask is written as 90s, 10m, 2h or 1h30m")
    return total_s


class ProcessSettings(Frozen, frozen=True, kw_only=True):
    """How a table is labelled."""

    task: str
    local_model: str
    chunk_rows: Annotated[int, Meta(ge=1)]
    threads: Annotated[int, Meta(ge=0)]
    limit: Annotated[int, Meta(ge=0)]


class ColumnSettings(Frozen, frozen=True, kw_only=True):
    """Which column plays which role: a name, `none`, or empty for "find it"."""

    text: str
    title: str
    id: str
    label: str
    tenant: str
    category: str
    priority: str
    label_map: str


class MachineSettings(Frozen, frozen=True, kw_only=True):
    """What this machine costs in USD an hour, and how many local answers a second that buys on one core."""

    usd_per_hour: Annotated[float, Meta(ge=0, le=1e6)]
    local_reviews_per_s: Annotated[int, Meta(ge=1)]


class DedupSettings(Frozen, frozen=True, kw_only=True):
    """What is done with near copies; `threshold` is a rapidfuzz ratio, 0 to 100."""

    near: Literal["", "off", "report", "share"]
    threshold: Annotated[float, Meta(ge=70, le=100)]


class MemorySettings(Frozen, frozen=True, kw_only=True):
    """The first tier: exact, in memory."""

    enabled: bool
    max_entries: Annotated[int, Meta(ge=1)]


class SimilarSettings(Frozen, frozen=True, kw_only=True):
    """The second tier, and how similar a text must be in any tier; `threshold` is a rapidfuzz ratio, 0 to 100."""

    enabled: bool
    max_entries: Annotated[int, Meta(ge=1)]
    threshold: Annotated[float, Meta(ge=70, le=100)]


class ArchiveSettings(Frozen, frozen=True, kw_only=True):
    """The third tier, on disk. 0 entries: unbounded."""

    enabled: bool
    max_entries: Annotated[int, Meta(ge=0)]
    eviction: Literal["lru", "lfu", "fifo"]
    similar: bool
    compress_above_bytes: Annotated[int, Meta(ge=0)]


class CacheSettings(Frozen, frozen=True, kw_only=True):
    """Which answers are kept, for how long (0 days: for ever), and who shares them."""

    scope: Literal["", "shared", "isolated"]
    ttl_days: Annotated[float, Meta(ge=0, le=36_500)]
    memory: MemorySettings
    similar: SimilarSettings
    archive: ArchiveSettings


class AskSettings(Frozen, frozen=True, kw_only=True):
    """How a model is asked: which, over how many threads, and how long and how often it is tried."""

    model: str
    threads: Annotated[int, Meta(ge=1, le=1024)]
    deadline_s: Annotated[float, Meta(gt=0, le=3600)]
    most_tries: Annotated[int, Meta(ge=1, le=20)]
    most_attempts: Annotated[int, Meta(ge=1, le=100)]
    cooldown_s: Annotated[float, Meta(ge=0, le=600)]
    deadline: str


class LadderSettings(Frozen, frozen=True, kw_only=True):
    """Which models answer, from cheap to dear, and what makes an answer good enough to stay."""

    models: str
    local: bool
    strategy: Strategy
    sample: Annotated[int, Meta(ge=20, le=10_000)]
    ensemble: str
    unsure_below: Annotated[float, Meta(ge=0, le=1)]


class CertificateSettings(Frozen, frozen=True, kw_only=True):
    """What accuracy is to be proven, against what; `target` 0: none.

    `reference` is a model's name, `column:NAME` or `human`; empty: none. `train`, `cal` and `audit` are rows, 0:
    planned from the size of the table. `missing_at_random`: a reference column with gaps is a uniform sample
    all the same.
    """

    reference: str
    target: Annotated[float, Meta(ge=0, lt=1)]
    confidence: Annotated[float, Meta(gt=0.5, lt=1)]
    per: Literal["", "tenant", "category"]
    train: Annotated[int, Meta(ge=0, le=100_000)]
    cal: Annotated[int, Meta(ge=0, le=1_000_000)]
    audit: Annotated[int, Meta(ge=0, le=1_000_000)]
    self_agreement: Annotated[int, Meta(ge=0, le=10_000)]
    missing_at_random: bool
    on_drift: Literal["warn", "escalate"]
    drift_level: Annotated[float, Meta(gt=0, le=0.1)]


class PackSettings(Frozen, frozen=True, kw_only=True):
    """How many reviews go into a request; `fixed` 0: by their complexity, about `size`.

    `tune`: whether the size is found by asking a sample singly too; `most_loss` is the share of answers that may be
    worse for being packed.
    """

    size: Annotated[int, Meta(ge=10, le=500)]
    fixed: Annotated[int, Meta(ge=0, le=500)]
    tune: Literal["auto", "on", "off"]
    sample: Annotated[int, Meta(ge=20, le=10_000)]
    most_loss: Annotated[float, Meta(ge=0, le=1)]


class PromptSettings(Frozen, frozen=True, kw_only=True):
    """What of a review goes into the prompt."""

    most_review_tokens: Annotated[int, Meta(ge=50)]
    redact: bool


class BudgetSettings(Frozen, frozen=True, kw_only=True):
    """What may be spent, in USD; infinite: no bound."""

    usd: Annotated[float, Meta(ge=0)]
    per_day_usd: Annotated[float, Meta(ge=0)]
    ask_above_usd: Annotated[float, Meta(ge=0)]


class GateSettings(Frozen, frozen=True, kw_only=True):
    """What `reviewopt report` holds a run against; empty: nothing. Shares may be written as .95 or "95%"."""

    min_accuracy: float | str
    max_cost_usd: float | str
    max_cost_per_1k_usd: float | str
    min_hit_rate: float | str
    min_throughput: float | str
    max_failures: float | str
    max_p95_latency_s: float | str
    max_regression: float | str


class AlertSettings(Frozen, frozen=True, kw_only=True):
    """At which percentages of a budget somebody is told, and how."""

    at_percent: str
    webhook: str
    command: str


class OwnPrice(Frozen, frozen=True, kw_only=True):
    """USD a million tokens."""

    input_usd: Annotated[float, Meta(ge=0, le=1e6)]
    output_usd: Annotated[float, Meta(ge=0, le=1e6)]
    cached_usd: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    cache_write_usd: Annotated[float, Meta(ge=0, le=1e6)] | None = None


# Of capitals alone, so that a key that was put where its variable's name belongs is refused, and never repeated.
_VARIABLE: Final = r"^([A-Z_][A-Z0-9_]*)?$"
# As cloud services name languages: en, zh-TW.
_LANGUAGE: Final = r"^[a-z]{2,3}(-[A-Za-z]{2,4})?$"


class EndpointSettings(Frozen, frozen=True, kw_only=True):
    """One of several places where a model answers, `[[models.NAME.endpoints]]`; the first is preferred.

    `weight` is how many requests it gets beside the others where they are balanced by load. Without an `api_key_env`
    the model's counts.
    """

    base_url: Annotated[str, Meta(min_length=1)]
    region: Annotated[str, Meta(max_length=60)] = ""
    weight: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    api_key_env: Annotated[str, Meta(pattern=_VARIABLE)] | None = None


class ModelSettings(Frozen, frozen=True, kw_only=True):
    """A model of the user's, `[models.NAME]`. The key itself is never a setting: `api_key_env` names its variable.

    Where `endpoints` are given, `base_url` may be left out: the first of them stands for it. `language` is what a cloud
    service is told that the texts are in; other kinds are told nothing.
    """

    kind: str = "chat"
    model: Annotated[str, Meta(min_length=1)]
    base_url: str = ""
    endpoints: tuple[EndpointSettings, ...] = ()
    balance: Literal["priority", "latency", "load"] = "priority"
    api_key_env: Annotated[str, Meta(pattern=_VARIABLE)] = ""
    api_key_header: str = "authorization"
    price: OwnPrice | str = ""
    processing: Literal["standard", "batch", "flex"] = "standard"
    context_tokens: Annotated[int, Meta(ge=1000)] = 128_000
    most_output_tokens: Annotated[int, Meta(ge=64)] = 8_192
    reasoning_tokens: Annotated[int, Meta(ge=0)] = 0
    reasoning_effort: str = ""
    rpm: Annotated[float, Meta(ge=0)] = 0.0
    tpm: Annotated[float, Meta(ge=0)] = 0.0
    temperature: Literal["default"] | Annotated[float, Meta(ge=0, le=2)] = 0.0
    reply: Literal["", "schema", "json", "lines"] = ""
    logprobs: bool = True
    stream: bool = True
    compress: bool = True
    prompt_cache: bool = True
    allow_address: bool = False
    simulated: bool = False
    language: Annotated[str, Meta(pattern=_LANGUAGE)] = "en"

    @property
    def primary_url(self) -> str:
        """The base address of the primary endpoint; empty where none is given."""
        return self.base_url or next((endpoint.base_url for endpoint in self.endpoints), "")


class TenantSettings(Frozen, frozen=True, kw_only=True):
    """What is particular to a tenant, `[tenants.NAME]`; an infinite budget: no bound of its own."""

    budget_usd: Annotated[float, Meta(ge=0)] = math.inf


class Config(Frozen, frozen=True, kw_only=True):
    """All settings of a run."""

    process: ProcessSettings
    columns: ColumnSettings
    dedup: DedupSettings
    cache: CacheSettings
    ask: AskSettings
    ladder: LadderSettings
    certificate: CertificateSettings
    pack: PackSettings
    prompt: PromptSettings
    budget: BudgetSettings
    alerts: AlertSettings
    gates: GateSettings
    machine: MachineSettings
    models: dict[str, ModelSettings] = msgspec.field(default_factory=dict)
    tenants: dict[str, TenantSettings] = msgspec.field(default_factory=dict)
