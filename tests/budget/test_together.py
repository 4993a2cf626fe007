"""Several purses and processes on one ledger: nothing is overshot, nothing is forgotten."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from purses import DAY_S, NOW_S, UNIT, counted, purse, refused, release, settlement, wanted

from reviewopt.budget import (
    Purse,
    Reservation,
    totals,
)
from reviewopt.budget.values import usd_of

Step = tuple[str, int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "settle", "unknown", "release", "midnight", "reopen"]),
        st.integers(0, 1),
        st.integers(0, 40),
        st.integers(0, 100),
    ),
    max_size=25,
)


class Trial:
    """Two runs of one home that do as they are told."""

    RUN = Decimal("60e-12")
    DAY = Decimal("90e-12")
    TENANTS: ClassVar = {"a": Decimal("70e-12"), "b": Decimal("35e-12")}

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.folder = folder
        self.now_s = NOW_S
        self.opened = opened
        self.purses = [self.open(number) for number in range(2)]
        self.held: list[list[Reservation]] = [[], []]

    def open(self, number: int) -> Purse:
        return self.opened.enter_context(
            purse(
                self.folder,
                f"run{number}",
                run_usd=self.RUN,
                per_day_usd=self.DAY,
                tenants=self.TENANTS,
                clock=lambda: self.now_s,
            )
        )

    def step(self, action: str, number: int, size: int, percent: int) -> None:
        if action == "midnight":
            self.now_s += DAY_S
        elif action == "reopen":  # as after a kill: what was held is nobody's
            self.purses[number].close()
            self.purses[number], self.held[number] = self.open(number), []
        elif action == "reserve":
            wants = [wanted(size * UNIT, shares={"a": percent, "b": 100 - percent}), wanted(size // 2 * UNIT)]
            results = self.purses[number].reserve(wants)
            self.held[number] += [one for one in results if isinstance(one, Reservation)]
        elif self.held[number]:
            held = self.held[number].pop(size % len(self.held[number]))
            if action == "release":
                self.purses[number].release([release(held)])
            else:
                usd = None if action == "unknown" else usd_of(held.units * percent // 100)
                self.purses[number].settle([settlement(held, usd)])

    def check(self) -> None:
        bounds = {"run": self.RUN, "day": self.DAY}
        for scope, usd in counted(self.folder).items():
            kind, _, name = scope.partition(":")
            assert usd <= bounds.get(kind, self.TENANTS.get(name, Decimal(1)))


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_no_interleaving_overshoots_a_budget_or_loses_a_unit(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as home, ExitStack() as opened:
        trial = Trial(Path(home) / "spend", opened)
        for step in steps:
            trial.step(*step)
            trial.check()


HAMMER = """
import sys
from decimal import Decimal
from pathlib import Path
from reviewopt.budget import Purse, Reservation, Settlement, Wanted
folder, name = Path(sys.argv[1]), sys.argv[2]
with Purse(folder, run_id=name, model="m", endpoint="e", tenants={"t": Decimal("0.002")}) as purse:
    print("ready", flush=True)
    while True:
        wanted = [Wanted(most_usd=Decimal("0.000007"), n_reviews=1, shares={"t": 1})] * 3
        held = [one for one in purse.reserve(wanted) if isinstance(one, Reservation)]
        if not held:
            break
        purse.settle(
            [Settlement(reservation=one, usd=Decimal("0.000003"), outcome="answered", seconds=1.0) for one in held[1:]]
        )
"""


def hammer(folder: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HAMMER, str(folder), name], stdout=subprocess.PIPE, text=True)


def test_four_processes_spend_a_tenants_budget_to_its_end_and_no_further(folder: Path) -> None:
    with ExitStack() as opened:
        running = [opened.enter_context(hammer(folder, f"run{number}")) for number in range(4)]
        assert [one.wait(timeout=60) for one in running] == [0] * 4
    spent = counted(folder)["tenant:t"]
    assert Decimal("0.002") - Decimal("0.000007") < spent <= Decimal("0.002")


def test_a_killed_process_leaves_its_reservations_charged_and_the_ledger_sound(folder: Path) -> None:
    for number in range(3):
        with hammer(folder, f"run{number}") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            while not totals(folder).get(f"run:run{number}"):
                pass
            process.kill()
        with closing(sqlite3.connect(folder / "spend.db")) as sql:
            held = sql.execute("SELECT sum(units) FROM reserved WHERE id NOT IN (SELECT reservation FROM ended)")
            left_open = usd_of(held.fetchone()[0] or 0)
        assert left_open <= counted(folder)["tenant:t"] <= Decimal("0.002")
    with purse(folder, "next", tenants={"t": counted(folder)["tenant:t"]}) as one:
        assert refused(one, wanted(UNIT, shares={"t": 1})).budget == "tenant t"
