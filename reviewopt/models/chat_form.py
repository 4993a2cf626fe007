"""In which form an endpoint is asked: the richest that it understands, found by trying and kept for later runs."""

from __future__ import annotations

import re
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
    """What a request uses of what endpoints may not know; `limit` is the parameter that bounds the reply.

    `stream`: a reply comes piece by piece, so that a broken connection loses only what had not come; `cache_key`: a
    request names others that begin as it does, for the vendor's prompt cache.
    """

    style: Style = "schema"
    stream: bool = True
    cache_key: bool = True
    logprobs: bool = True
    temperature: bool = True
    limit: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"


def richest(settings: ModelSettings) -> Form:
    """Return the form that is tried first."""
    return Form(
        style=settings.reply or "schema",
        stream=settings.stream,
        cache_key=settings.prompt_cache,
        logprobs=settings.logprobs,
        temperature=settings.temperature != "default",
    )


def known_as(decisive: Mapping[str, str], settings: ModelSettings) -> str:
    """Name what a form was found for: other settings lead to another one, so none is taken over to them.

    Args:
        decisive: what decides the model's answers: where it is, its name, its temperature and the like.
        settings: what the user says of the model.
    """
    asked_for = {"logprobs": settings.logprobs, "stream": settings.stream, "prompt_cache": settings.prompt_cache}
    switches = {name: f"{is_on}".lower() for name, is_on in asked_for.items()}
    named = {**decisive, "reply": settings.reply or "any", **switches}
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
        "prompt_cache_key": replace(form, cache_key=False) if form.cache_key else None,
        "stream": replace(form, stream=False) if form.stream else None,  # stream_options goes with it
    }
    plainer = _plainer(form.style)
    if plainer and not is_style_fixed:
        remedies |= dict.fromkeys(("response_format", "json_schema", "json_object"), replace(form, style=plainer))
    named = [(found.start(), name) for name in remedies if (found := re.search(rf"(?<![a-z]){name}", complaint))]
    return next((remedy for _, name in sorted(named) if (remedy := remedies[name]) is not None), None)


def simpler(form: Form, *, is_style_fixed: bool) -> Iterator[Form]:
    """Yield ever simpler forms, for an endpoint that does not say what it misses: at first, all that only adds."""
    plain = replace(form, stream=False, cache_key=False, logprobs=False)
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
