"""What could keep a run from going well on this machine, each with what to do; nothing here is changed.

`installed` looks at the tool and the machine, `asked` at the settings and the models, `kept` at the home.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path

from reviewopt.doctor.values import SCHEMA_VERSION, Check, Diagnosis, Figure, Status

__all__ = ["SCHEMA_VERSION", "Check", "Diagnosis", "Figure", "Status", "diagnose"]


def diagnose(home: Path, *, asks_endpoints: bool, environment: Mapping[str, str], today: date) -> Diagnosis:
    """Make every check; one that cannot be made for want of a library fails by itself.

    Args:
        home: where runs are kept; it need not be there.
        asks_endpoints: also ask every configured endpoint for the list of its models, over the network.
        environment: where settings and keys are.
        today: what the age of prices is counted to.
    """
    checks = list(_checks(home, asks_endpoints=asks_endpoints, environment=environment, today=today))
    n = Counter(check.status for check in checks)
    return Diagnosis(
        schema_version=SCHEMA_VERSION,
        n_ok=n["ok"],
        n_warn=n["warn"],
        n_fail=n["fail"],
        n_skipped=n["skipped"],
        checks=tuple(checks),
    )


def _checks(home: Path, *, asks_endpoints: bool, environment: Mapping[str, str], today: date) -> Iterator[Check]:
    from reviewopt.doctor import asked, installed, kept

    yield installed.python()
    yield installed.libraries()
    yield _made("vocabulary", installed.vocabulary)
    settings, merged = asked.settings(environment)
    yield settings
    if merged is not None:
        wrong, models = asked.models(merged, environment)
        yield from wrong
        yield from asked.keys(models, environment)
        yield from asked.endpoints(models, environment) if asks_endpoints and models else (asked.not_asked(models),)
    else:
        for name in ("keys", "endpoints"):
            yield Check(name=name, status="skipped", found="the settings cannot be read", figures={})
    yield _made("prices", lambda: installed.price_age(today))
    yield installed.gpu()
    yield kept.permissions(home)
    yield kept.disk(home)
    yield _made("archive", lambda: kept.archive(home))
    yield _made("ledger", lambda: kept.ledger(home))


def _made(name: str, make: Callable[[], Check]) -> Check:
    """Make a check whose libraries may be missing."""
    try:
        return make()
    except ImportError as error:
        advice = "install again: pip install --upgrade reviewopt"
        return Check(name=name, status="fail", found=f"it cannot be checked: {error}", advice=advice, figures={})
