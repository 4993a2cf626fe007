"""Checks of the settings, of the models that they name, of their keys, and, where it is wanted, of their endpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from reviewopt import config
from reviewopt.config import LOCAL_FILE, Setting
from reviewopt.doctor.values import Check, Figure, Status
from reviewopt.errors import ReviewoptError
from reviewopt.models.probe import Probed, probe
from reviewopt.prices import SERVICES
from reviewopt.settings import Config, ModelSettings

# Enough for a far endpoint to say something, and short enough to wait for in front of a terminal.
DEADLINE_S: Final = 10.0
_FORBIDDEN: Final = frozenset({401, 403})
_NOT_KNOWN: Final = frozenset({404, 405, 501})


def settings(environment: Mapping[str, str]) -> tuple[Check, Config | None]:
    """Read the settings as a run would; return what they are, or None where no run could read them."""
    figures: dict[str, Figure] = {"file": None, "n_own": None, "task": None}
    try:
        if Path(LOCAL_FILE).exists():
            figures["file"] = LOCAL_FILE
        merged, origins = config.load({}, environment=environment)
        figures["task"] = config.load_task(merged.process.task).name
    except ReviewoptError as error:
        return Check(name="settings", status="fail", found=str(error), figures=figures), None
    own = [one for one in origins if one.origin != "default"]
    figures["n_own"] = len(own)
    return Check(name="settings", status="ok", found=_told(own), figures=figures), merged


def _told(own: Sequence[Setting]) -> str:
    if not own:
        return f"no {LOCAL_FILE} here and nothing in the environment: the defaults"
    n_by_origin: dict[str, int] = {}
    for one in own:
        origin = one.origin if one.origin == LOCAL_FILE else "the environment"
        n_by_origin[origin] = n_by_origin.get(origin, 0) + 1
    return ", ".join(f"{n} from {origin}" for origin, n in n_by_origin.items())


def models(merged: Config, environment: Mapping[str, str]) -> tuple[list[Check], dict[str, ModelSettings]]:
    """Find every model that the settings describe or name; return what is wrong with a name, and the models."""
    from reviewopt.models.kinds import parse_spec

    found = dict(merged.models)
    wrong = []
    named = [merged.ask.model, *merged.ladder.models.split(","), *merged.ladder.ensemble.split(",")]
    for spec in dict.fromkeys(filter(None, map(str.strip, named))):
        if spec == "local":
            continue
        try:
            name, model = parse_spec(spec, merged.models, environment)
        except ReviewoptError as error:
            wrong.append(Check(name="model", status="fail", found=str(error), figures={"model": spec}))
        else:
            found[name] = model
    for name, model in found.items():
        if not model.primary_url and model.kind not in SERVICES:
            said = f"{name} has no address; write base_url below [models.{name}]"
            wrong.append(Check(name="model", status="fail", found=said, figures={"model": name}))
    return wrong, found


def keys(found: Mapping[str, ModelSettings], environment: Mapping[str, str]) -> Iterator[Check]:
    """Say for each model which variables its keys are in, and whether they are set; never what they hold."""
    from reviewopt.models.connect import key_variables

    if not found:
        yield Check(name="keys", status="ok", found="no model is described", figures={"model": None})
    for name, model in found.items():
        if model.kind in SERVICES:
            said = f"{name}: a cloud service, whose library finds the credentials itself"
            yield Check(name="keys", status="ok", found=said, figures={"model": name})
            continue
        is_set: dict[str, Figure] = {
            variable: bool(environment.get(variable, "").strip()) for variable in key_variables(model)
        }
        missing = [variable for variable, has_value in is_set.items() if not has_value]
        shown = ", ".join(f"{variable} {'set' if has_value else 'not set'}" for variable, has_value in is_set.items())
        yield Check(
            name="keys",
            status="warn" if missing else "ok",
            found=f"{name}: {shown or 'needs none'}",
            advice=f"export {missing[0]}=... before {name} is asked" if missing else "",
            figures={"model": name, **is_set},
        )


def endpoints(
    found: Mapping[str, ModelSettings], environment: Mapping[str, str], *, deadline_s: float = DEADLINE_S
) -> Iterator[Check]:
    """Ask each endpoint for the list of its models, over the network: nothing is charged, and no review is sent.

    A cloud service has no such list, and is not asked.
    """
    for name, model in found.items():
        if model.kind in SERVICES:
            continue
        for probed in probe(name, model, environment=environment, deadline_s=deadline_s):
            status, words, advice = _judged(probed)
            where = f" at {probed.endpoint}" if probed.endpoint else ""
            yield Check(
                name="endpoints",
                status=status,
                found=f"{name}{where}: {words}",
                advice=advice,
                figures={
                    "model": name,
                    "endpoint": probed.endpoint or None,
                    "status": probed.status or None,
                    "seconds": round(probed.seconds, 3) if probed.status else None,
                },
            )


def not_asked(found: Mapping[str, ModelSettings]) -> Check:
    """Say that no endpoint was asked."""
    words = "not asked; --endpoints asks over the network" if found else "there is none to ask"
    figures: dict[str, Figure] = {"model": None, "endpoint": None, "status": None, "seconds": None}
    return Check(name="endpoints", status="skipped" if found else "ok", found=words, figures=figures)


def _judged(probed: Probed) -> tuple[Status, str, str]:
    """Say what a status means for a run."""
    code, key = probed.status, probed.key_variable or "none is given"
    status: Status = "fail"
    words, advice = "it is there, and something is wrong", "ask who runs it"
    if not code:
        words, advice = probed.problem, "see whether base_url is right and the service runs"
    elif code < 300:
        status, words, advice = "ok", "", ""
    elif code < 400:
        words, advice = "it sends elsewhere, and nothing is followed", "put the address that it means into base_url"
    elif code in _FORBIDDEN:
        words, advice = f"it does not take the key ({key})", "see whether the key is right, and for this service"
    elif code in _NOT_KNOWN:
        status, words, advice = "ok", "it is there, and keeps no list of models", ""
    elif code == 429:
        status, words, advice = "warn", "it is there, and asks to wait", "run this again later"
    said = f"HTTP {code} in {probed.seconds:.2f} s" if code else ""
    return status, ": ".join(filter(None, (said, words))), advice
