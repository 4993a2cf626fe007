"""Checks of what is installed: versions, vocabulary, prices, and the GPU."""

from __future__ import annotations

import operator
import platform
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from importlib import metadata
from typing import Final

from reviewopt import __version__, hardware
from reviewopt.doctor.values import Check, Figure
from reviewopt.errors import InputError

_PACKAGE: Final = "reviewopt"
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(;.*)?")
_BOUND: Final = re.compile(r"\s*(>=|<=|==|!=|<|>)\s*([0-9][^\s]*)\s*")
_COMPARE: Final[dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_AGAIN: Final = "install again: pip install --upgrade reviewopt"


def python() -> Check:
    """Compare the interpreter with what the tool needs."""
    try:
        needed = str(metadata.metadata(_PACKAGE).json.get("requires_python", ""))
    except metadata.PackageNotFoundError:
        needed = ""
    found = platform.python_version()
    fits = is_within(found, needed)
    return Check(
        name="python",
        status="ok" if fits else "fail",
        found=f"Python {found}, reviewopt {__version__}" + ("" if fits else f", which needs Python {needed}"),
        advice="" if fits else "make an environment with a newer Python and install reviewopt there",
        figures={"python": found, "reviewopt": __version__, "executable": sys.executable},
    )


def libraries(
    requirements: Callable[[str], Sequence[str] | None] = metadata.requires,
    version_of: Callable[[str], str] = metadata.version,
) -> Check:
    """Compare the versions of the libraries that the tool itself names with the bounds that it sets."""
    try:
        named = list(_needed(requirements(_PACKAGE) or ()))
    except metadata.PackageNotFoundError:
        return Check(
            name="libraries",
            status="skipped",
            found="reviewopt runs from its source, so nothing says which versions it needs",
            advice="pip install --editable . says it",
            figures={},
        )
    versions: dict[str, Figure] = {}
    wrong = []
    for name, bounds in named:
        try:
            versions[name] = version = version_of(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
            wrong.append(f"{name} is missing")
            continue
        if not is_within(version, bounds):
            wrong.append(f"{name} is {version}, needed is {bounds}")
    return Check(
        name="libraries",
        status="fail" if wrong else "ok",
        found="; ".join(wrong) or f"{len(named)} of {len(named)} in a version that fits",
        advice=_AGAIN if wrong else "",
        figures=versions,
    )


def is_within(version: str, bounds: str) -> bool:
    """Say whether a version keeps to bounds such as `>=2,<3`; what is no such bound binds nothing."""
    parts = [_BOUND.fullmatch(bound) for bound in bounds.split(",")]
    return all(_COMPARE[part[1]](*_padded(version, part[2])) for part in parts if part)


def _needed(requirements: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and bounds of what is needed always: an extra is needed by nobody who did not ask for it."""
    for requirement in requirements:
        match = _REQUIREMENT.fullmatch(requirement.strip())
        if match and not match[3]:
            yield match[1], match[2].strip()


def _padded(*versions: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    first, second = (tuple(map(int, re.findall(r"\d+", re.split(r"[^0-9.]", one)[0]))) for one in versions)
    length = max(len(first), len(second))
    return first + (0,) * (length - len(first)), second + (0,) * (length - len(second))


def vocabulary() -> Check:
    """Unpack the vocabulary that tokens are counted with, in memory alone."""
    from reviewopt import tokens

    try:
        n_bytes = len(tokens.packaged_vocabulary())
    except InputError as error:
        figures: dict[str, Figure] = {"encoding": tokens.ENCODING, "n_bytes": None}
        return Check(name="vocabulary", status="fail", found=str(error), advice=_AGAIN, figures=figures)
    return Check(
        name="vocabulary",
        status="ok",
        found=f"{tokens.ENCODING} ships with the tool and is sound; tokens are counted offline",
        figures={"encoding": tokens.ENCODING, "n_bytes": n_bytes},
    )


def price_age(today: date) -> Check:
    """Say how old the packaged prices are; those of genai-prices tell no date."""
    from reviewopt import pricelist

    theirs = metadata.version("genai-prices")
    undated = f"the other prices are those of genai-prices {theirs}, which tells no date"
    try:
        ages = pricelist.ages(pricelist.read(), today)
    except InputError as error:
        figures: dict[str, Figure] = {"oldest": None, "age_days": None, "genai_prices": theirs}
        return Check(name="prices", status="fail", found=str(error), advice=_AGAIN, figures=figures)
    oldest = max(ages, key=lambda age: age.age_days, default=None)
    is_old = oldest is not None and oldest.age_days > pricelist.MOST_AGE_DAYS
    own = f"the oldest of {len(ages)} of its own is of {oldest.as_of}" if oldest else "no price of its own"
    return Check(
        name="prices",
        status="warn" if is_old else "ok",
        found=f"{own}; {undated}",
        advice="`reviewopt prices` says which; compare them with their pages" if is_old else "",
        figures={
            "oldest": str(oldest.as_of) if oldest else None,
            "age_days": oldest.age_days if oldest else None,
            "genai_prices": theirs,
        },
    )


def gpu(find: Callable[[], hardware.Gpus] = hardware.open_gpus) -> Check:
    """Name the GPUs, or say why there are none; the tool needs none."""
    state = hardware.state(find)
    shown = [
        f"{one.name}, {one.memory_used_bytes / 1e9:.1f} of {one.memory_total_bytes / 1e9:.1f} GB used"
        for one in state.gpus
    ]
    driver = f"; driver {state.driver}" if state.driver else ""
    return Check(
        name="gpu",
        status="ok",
        found="; ".join(shown) + driver if shown else f"none to be seen, and none is needed: {state.reason}",
        figures={
            "n_gpus": len(state.gpus),
            "driver": state.driver,
            "memory_used_bytes": sum(one.memory_used_bytes for one in state.gpus) if shown else None,
            "memory_total_bytes": sum(one.memory_total_bytes for one in state.gpus) if shown else None,
        },
    )
