"""In which form an endpoint is asked: the richest that it understands, found by trying and kept for later runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from reviewopt.data import Frozen
from reviewopt.models.chat_prompt import Style
from reviewopt.settings import ModelSettings

_STYLES: Final[tuple[Style, ...]] = ("schema", "json", "lines")


class Form(Frozen, frozen=True, kw_only=True):
    """What a request uses of what endpoints may not know; `limit` is the parameter that bounds the reply."""

    style: Style = "schema"
    logprobs: bool = True
    temperature: bool = True
    limit: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"


def richest(settings: ModelSettings) -> Form:
    """Return the form that is tried first."""
    return Form(
        style=settings.reply or "schema", logprobs=settings.logprobs, temperature=settings.temperature != "default"
    )


def known_as(decisive: Mapping[str, str], settings: ModelSettings) -> str:
    """Name what a form was found for: other settings lead to another one, so none is taken over to them.

    Args:
        decisive: what decides the model's answers: where it is, its name, its temperature and the like.
        settings: what the user says of the model.
    """
    named = {**decisive, "reply": settings.reply or "any", "logprobs": f"{settings.logprobs}".lower()}
    return " ".join(f"{name}={value}" for name, value in named.items())


def without(form: Form, complaint: str, *, is_style_fixed: bool) -> Form | None:
    """Return the form without what an endpoint complains about, or None where it names nothing that can be left out.

    Where several parameters are named, the first is meant: the others are advice.
    """
    other_limit: Literal["max_completion_tokens", "max_tokens"] = (
        "max_completion_tokens" if form.limit == "max_tokens" else "max_tokens"
    )
    remedies: dict[str, Form | None] = {
        "logprobs": replace(form, logprobs=False) if form.logprobs else None,
        "max_completion_tokens": replace(form, limit=other_limit) if form.limit == "max_completion_tokens" else None,
        "max_tokens": replace(form, limit=other_limit) if form.limit == "max_tokens" else None,
        "temperature": replace(form, temperature=False) if form.temperature else None,
    }
    plainer = _plainer(form.style)
    if plainer and not is_style_fixed:
        remedies |= dict.fromkeys(("response_format", "json_schema", "json_object"), replace(form, style=plainer))
    named = [(at, name) for name in remedies if (at := complaint.find(name)) >= 0]
    return next((remedy for _, name in sorted(named) if (remedy := remedies[name]) is not None), None)


def simpler(form: Form, *, is_style_fixed: bool) -> Iterator[Form]:
    """Yield ever simpler forms, for an endpoint that does not say what it misses."""
    plain = replace(form, logprobs=False)
    styles = [form.style] if is_style_fixed else list(_STYLES[_STYLES.index(form.style) :])
    yield plain
    yield replace(plain, limit="max_tokens")
    yield replace(plain, temperature=False)
    yield replace(plain, limit="max_tokens", temperature=False)
    for style in styles[1:]:
        yield replace(plain, style=style)
    yield replace(plain, style=styles[-1], limit="max_tokens", temperature=False)


def _plainer(style: Style) -> Style | None:
    at = _STYLES.index(style) + 1
    return _STYLES[at] if at < len(_STYLES) else None


class Memory:
    """The forms found so far, a small file that all models share; a damaged or missing one is an empty one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def recall(self, name: str) -> Form | None:
        """Return the form that was found for what `known_as` calls by this name, or None."""
        try:
            return msgspec.convert(self._read().get(name), Form | None)
        except msgspec.ValidationError:
            return None

    def keep(self, name: str, form: Form) -> None:
        """Note a form; a note that cannot be written is found out again by the next run."""
        forms = {**self._read(), name: msgspec.to_builtins(form)}
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._path.parent) as folder:
                partial = Path(folder, self._path.name)
                partial.touch(mode=0o600)
                partial.write_bytes(msgspec.json.format(msgspec.json.encode(forms)))
                partial.replace(self._path)

    def _read(self) -> Mapping[str, object]:
        try:
            forms = msgspec.json.decode(self._path.read_bytes())
        except (OSError, msgspec.DecodeError, RecursionError, UnicodeError):
            return {}
        return forms if isinstance(forms, dict) else {}
