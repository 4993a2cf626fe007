"""What decides an answer, and the key under which it is kept.

A key is the first 128 bits of SHA-256(SHA-256(canonical JSON of the context) + the normal form). The context holds
everything else that decides the answer, so a change of any of it is another key, and nothing stale is ever found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.data import Frozen
from reviewopt.task import Field, Task
from reviewopt.text.normal import NORMALISER_VERSION

KEY_BYTES: Final = 16
_DIGEST_CHARS: Final = 16


Source = Literal["human", "warm", "model"]
GIVEN: Final[tuple[Source, ...]] = ("human", "warm")


class Context(Frozen, frozen=True, kw_only=True, omit_defaults=True):
    """All that decides an answer but the text.

    `tenant` is null where tenants share. `labels` are those of the task's first field, `others` the names of the
    fields after it; a task of one field has none, and its JSON does not name them. `source` says who answered: a
    person, labelled history (`warm`) or a model; people come first, then history, whatever model is asked otherwise, so
    for those `model`, `settings`, `prompt` and `packed` are null.
    """

    source: Source
    scope: str
    tenant: str | None
    task: str
    labels: tuple[str, ...]
    normaliser: int
    model: str | None
    settings: dict[str, str] | None
    prompt: str | None
    packed: bool | None
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of n texts.

    Attributes:
        raw: n times 16 bytes.
        words: uint64 (n, 2), the same in big-endian halves, so that their order is that of the bytes.
    """

    raw: list[bytes]
    words: npt.NDArray[np.uint64]

    @staticmethod
    def of(raw: list[bytes]) -> Keys:
        """Give raw keys their halves."""
        return Keys(raw, np.frombuffer(b"".join(raw), ">u8").astype(np.uint64).reshape(-1, 2))

    def hex(self) -> pl.Series:
        """Return them as the archive spells them, String (n,)."""
        return pl.Series("key", [key.hex() for key in self.raw], pl.String)

    def at(self, positions: npt.NDArray[np.int64]) -> Keys:
        """Return those at `positions`."""
        return Keys([self.raw[place] for place in positions.tolist()], self.words[positions])


def given_context(task: Task, source: Source, *, scope: str, tenant: str | None) -> Context:
    """Return the context of what people or labelled history say."""
    return Context(
        source=source,
        scope=scope,
        tenant=tenant,
        task=task.name,
        labels=task.labels,
        normaliser=NORMALISER_VERSION,
        model=None,
        settings=None,
        prompt=None,
        packed=None,
        others=tuple(field.name for field in task.others),
    )


class ModelKey(Frozen, frozen=True, kw_only=True):
    """What of a model decides its answers. `prompt` is the version of its prompt, what the task tells aside."""

    name: str
    settings: dict[str, str]
    prompt: str
    packed: bool

    def context(self, task: Task, *, scope: str, tenant: str | None) -> Context:
        """Return the context of the model's own answers."""
        return msgspec.structs.replace(
            given_context(task, "model", scope=scope, tenant=tenant),
            model=self.name,
            settings=self.settings,
            prompt=f"{self.prompt}:{hashlib.sha256(_told(task)).hexdigest()}",
            packed=self.packed,
        )


def _told(task: Task) -> bytes:
    """Return what a prompt tells of a task: its instructions, and the name, type, bounds and labels of each field."""
    return msgspec.json.encode((task.instructions, task.fields), order="sorted")


def canonical(context: Context) -> str:
    """Return the context as JSON with sorted keys and no spaces: equal contexts give equal bytes."""
    return msgspec.json.encode(context, order="sorted").decode()


def digest(context_json: str) -> str:
    """Return the 16 hex digits that name a context."""
    return hashlib.sha256(context_json.encode()).hexdigest()[:_DIGEST_CHARS]


def is_of_a_model(context_json: str) -> bool:
    """Say whether a context is that of a model's answers, not of what people or labelled history said."""
    return '"source":"model"' in context_json


def group(digests: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return the digests as numbers, uint64 (n,): texts of two groups are never compared."""
    return np.array([int(one, 16) for one in digests], np.uint64)


def make_keys(contexts: Sequence[str], of_text: npt.NDArray[np.int64], form: pl.Series) -> Keys:
    """Key texts in their contexts.

    Args:
        contexts: canonical JSON of each context.
        of_text: (n,), the context of each text as an index into `contexts`.
        form: String (n,), normal forms. No library hashes a column cryptographically, so this loops over the texts.
    """
    prefixes = [hashlib.sha256(context.encode()).digest() for context in contexts]
    texts = form.cast(pl.Binary).to_list()
    sha256 = hashlib.sha256
    if len(prefixes) == 1:
        (prefix,) = prefixes
        return Keys.of([sha256(prefix + text).digest()[:KEY_BYTES] for text in texts])
    pairs = zip(of_text.tolist(), texts, strict=True)
    return Keys.of([sha256(prefixes[code] + text).digest()[:KEY_BYTES] for code, text in pairs])


class Side:
    """The contexts of one source of answers, one a tenant, in the order in which the tenants were met."""

    def __init__(self) -> None:
        self.json: list[str] = []
        self.digest: list[str] = []

    def add(self, context: Context) -> None:
        """Take the context of one more tenant."""
        self.json.append(canonical(context))
        self.digest.append(digest(self.json[-1]))


class Contexts:
    """The contexts of one task's answers: those given by people and by history, and the model's own.

    `sides` are in the order in which they are looked up; `own` is the last of them, None without a model.
    """

    def __init__(self, task: Task, model: ModelKey | None, *, scope: str, with_given: bool = True) -> None:
        """Leave `model` out where only what is given counts, and what is given where only the model's own does."""
        self._task = task
        self._model = model
        self._scope = scope
        self._code: dict[str | None, int] = {}
        self._given = {source: Side() for source in GIVEN}
        self.own = None if model is None else Side()
        given = self._given.values() if with_given else ()
        self.sides = (*given, *(() if self.own is None else (self.own,)))

    @property
    def others(self) -> tuple[Field, ...]:
        """The fields of the task after the first, which an answer must have too."""
        return self._task.others

    def given(self, source: Source) -> Side:
        """Return the contexts of what people or history say."""
        return self._given[source]

    def codes(self, tenant: pl.Series | None, n: int) -> npt.NDArray[np.int64]:
        """Number the contexts of n texts, (n,); `tenant` String (n,) only where tenants share nothing."""
        if tenant is None:
            self._add(None)
            return np.full(n, self._code[None], np.int64)
        distinct = tenant.unique(maintain_order=True)
        for name in distinct:
            self._add(name)
        codes = pl.Series([self._code[name] for name in distinct], dtype=pl.Int64)
        return tenant.replace_strict(distinct, codes, return_dtype=pl.Int64).to_numpy()

    def _add(self, tenant: str | None) -> None:
        if tenant in self._code:
            return
        self._code[tenant] = len(self._code)
        for source, side in self._given.items():
            side.add(given_context(self._task, source, scope=self._scope, tenant=tenant))
        if self.own is not None and self._model is not None:
            self.own.add(self._model.context(self._task, scope=self._scope, tenant=tenant))
