"""Runs and reports of them, without a run: the record is that of the report's snapshot, with other figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from reviewopt.accuracy import wilson
from reviewopt.budget import RunRequests
from reviewopt.data import Traffic
from reviewopt.record import AskRecord, Run, Tokens
from reviewopt.report import State, making

RUN = msgspec.convert(json.loads((Path(__file__).parent / "snapshots" / "report.json").read_text())["run"], type=Run)
ASKED = AskRecord(
    endpoint="https://model.test/v1",
    is_simulated=False,
    price="test",
    n_requests=0,
    outcomes={},
    n_asked=0,
    n_asked_again=0,
    mean_pack_size=None,
    n_shortened=0,
    n_over_budget=0,
    n_over_deadline=0,
    failures={},
    tokens=Tokens(input=0, cached=0, cache_write=0, output=0, reasoning=0),
    spent_usd="0",
    no_reply_usd="0",
    budget_usd=None,
    reply_s=None,
    waited_s=0.0,
    most_in_flight=1,
    n_kept_of_cut=0,
    cache_saved_usd=None,
    traffic=Traffic(),
    packs=None,
    hardware=None,
    alerts=(),
)


def run_of(
    *,
    run_id: str = "20260102-030405-000000",
    n_rows: int = 1000,
    n_failed: int = 0,
    n_hits: int = 600,
    n_looked_up: int = 1000,
    n_right: int | None = 900,
    n_labelled: int = 1000,
    spent_usd: str | None = "1",
    n_requests: int = 40,
    wall_s: float = 20.0,
    **others: Any,
) -> Run:
    """A run with these figures; every row asks something."""
    accuracy = None
    if n_right is not None:
        assert RUN.accuracy is not None
        confusion = ((n_right, n_labelled - n_right, 0), (0, 0, 0), (0, 0, 0))
        overall = msgspec.structs.replace(
            RUN.accuracy.overall, n_rows=n_labelled, confusion=confusion, accuracy=wilson(n_right, n_labelled)
        )
        accuracy = msgspec.structs.replace(RUN.accuracy, overall=overall)
    asked = None if spent_usd is None else msgspec.structs.replace(ASKED, n_requests=n_requests, spent_usd=spent_usd)
    sources = dict.fromkeys(RUN.n_by_source, 0) | {"local": n_rows - n_failed - n_hits, "l3": n_hits}
    return msgspec.structs.replace(
        RUN,
        run_id=run_id,
        n_rows=n_rows,
        n_by_source=sources | {"failed": n_failed},
        n_looked_up=n_looked_up,
        hit_rate=n_hits / n_looked_up if n_looked_up else None,
        wall_s=wall_s,
        reviews_per_s=n_rows / wall_s if n_rows else None,
        accuracy=accuracy,
        asked=asked,
        **others,
    )


def found(
    run: Run, seconds: Sequence[float] | None = (1.0,) * 40, *, state: State = "done", damage: str = ""
) -> making.Read:
    """The run as it is read, with its requests' seconds; None: without a ledger."""
    charged = Decimal(0 if run.asked is None else run.asked.spent_usd)
    requests = None if seconds is None else RunRequests(seconds=tuple(seconds), charged_usd=charged)
    return making.Read(run, state, requests, damage)
