"""One run's access to the ledger: reserve before sending, settle or release after.

Worst cases count against every budget from the moment they are reserved, in one transaction that other processes wait
for, so two runs can never both take the last cent. A purse is used on one thread; several may share a folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from reviewopt.budget import database, rows
from reviewopt.budget.totals import Totals
from reviewopt.budget.values import (
    MOST_UNITS,
    Refusal,
    Release,
    Reservation,
    Settlement,
    Spent,
    Wanted,
    bound_of,
    label,
    question_units,
    split_by_tenant,
    units_of,
    usd_of,
    worst_case,
)
from reviewopt.errors import InputError


class Purse:
    """The budgets of one run and one model. A context manager.

    Args:
        folder: the ledger's, `HOME/spend`; made where needed.
        run_id: the run that `run_usd` bounds; purses of several models of a run share it.
        model: the model's name at its endpoint.
        endpoint: where the requests go, without keys.
        task: a digest of all that decides how much a request takes: the task, its prompt, packed or single.
        run_usd: what the run may spend; None or infinity: no bound, as for the others.
        per_day_usd: what all runs of the home may spend in a day (UTC, when the money is reserved).
        tenants: what each tenant may spend in all runs of the home; one that is not named has no bound.
        clock: seconds since 1970.
        on_spent: is told after each settlement what the bounded budgets have been charged.
        on_warning: is told, once, that a request was charged above its worst case.

    Raises:
        InputError: the ledger cannot be used.
        ValueError: a budget that is no amount of money.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run_id: str,
        model: str,
        endpoint: str,
        task: str = "",
        run_usd: Decimal | None = None,
        per_day_usd: Decimal | None = None,
        tenants: Mapping[str, Decimal] = MappingProxyType({}),
        clock: Callable[[], float] = time.time,
        on_spent: Callable[[Spent], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        self._folder = folder
        self._database = str(folder / database.DATABASE)
        self._run = f"run:{run_id}"
        bounds = {self._run: bound_of(run_usd)} | {f"tenant:{name}": bound_of(usd) for name, usd in tenants.items()}
        self._bounds = {scope: bound for scope, bound in bounds.items() if bound is not None}
        self._day_bound = bound_of(per_day_usd)
        self._clock = clock
        self._on_spent = on_spent
        self._on_warning = on_warning
        # What each reservation that has not ended counts for in each scope, and the sums of that.
        self._held: dict[int, dict[str, int]] = {}
        self._in_flight: dict[str, int] = {}
        self.n_over_reserved = 0
        self._sql = database.open_ledger(folder)
        try:
            self._file = self._identity()
            self._totals = Totals(self._sql)
            with database.transaction(self._sql, folder):
                opening = (clock(), run_id, model, endpoint, task)
                self._opening = self._sql.execute(rows.OPEN, opening).lastrowid
        except BaseException:
            self._sql.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the ledger back; what was reserved and not ended stays charged at its worst case."""
        self._sql.close()

    @property
    def spent_usd(self) -> Decimal:
        """What the run has been charged, without what this purse has in flight."""
        with database.explained(self._folder):
            self._totals.follow()
            total = self._totals.of(self._run)
        return usd_of(total) - self.held_usd

    @property
    def held_usd(self) -> Decimal:
        """What this purse has reserved and not ended."""
        return usd_of(self._in_flight.get(self._run, 0))

    def reserve(self, wanted: Sequence[Wanted]) -> list[Reservation | Refusal]:
        """Reserve each request's worst case, wholly or not at all, in one transaction.

        Returns:
            A reservation or a refusal for each, (n_wanted,), in order; earlier ones are served first.

        Raises:
            InputError: the ledger cannot be written, or was moved or removed: nothing may be sent.
            ValueError: a worst case that is no amount of money, or a request without tenants.
        """
        if not wanted:
            return []
        at = self._clock()
        day = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
        if self._day_bound is not None:
            self._bounds[f"day:{day}"] = self._day_bound
        plans = [self._parts(day, worst_case(one)) for one in wanted]
        with database.transaction(self._sql, self._folder):
            if self._identity() != self._file:
                raise InputError(f"the spend ledger in {self._folder} was moved or removed while in use; run again")
            self._totals.follow()
            results, after = self._choose(wanted, plans, day)
            made = [one for one in results if isinstance(one, Reservation)]
            self._sql.executemany(rows.RESERVE, [rows.reserved(at, self._opening, one) for one in made])
            self._totals.write(after)
        self._totals.keep(after, n_more=len(made))
        for one, parts in zip(results, plans, strict=True):
            if isinstance(one, Reservation):
                self._held[one.id] = parts
                self._count(parts, 1)
        return results

    def _choose(
        self, wanted: Sequence[Wanted], plans: Sequence[Mapping[str, int]], day: str
    ) -> tuple[list[Reservation | Refusal], dict[str, int]]:
        """Decide for each request, and return what each scope is then charged."""
        results: list[Reservation | Refusal] = []
        after: dict[str, int] = {}
        number = self._totals.last_id
        for one, parts in zip(wanted, plans, strict=True):
            for scope in parts:
                if scope not in after:
                    after[scope] = self._totals.of(scope)
            if not self._fits(after, parts):
                results.append(self._refusal(after, parts))
                continue
            number += 1
            for scope, part in parts.items():
                after[scope] += part
            shares = {tenant: parts[f"tenant:{tenant}"] for tenant in one.shares}
            results.append(Reservation(id=number, day=day, units=parts[self._run], shares=shares, wanted=one))
        return results, after

    def settle(self, settled: Sequence[Settlement]) -> list[tuple[Decimal, ...]]:
        """Record what requests were charged, and what each question of them cost, in one transaction.

        Where it raises, nothing was recorded: the worst cases stay charged, and it can be called again.

        Returns:
            What each question cost, (n_questions,) for each settlement; they add up to its charge exactly.

        Raises:
            InputError: the ledger cannot be written.
            ValueError: a reservation that was ended before or is another purse's, or a charge that is no money.
        """
        at = self._clock()
        ended: list[rows.Row] = []
        asked: list[rows.Row] = []
        costs: list[tuple[Decimal, ...]] = []
        ends: list[tuple[Reservation, Mapping[str, int]]] = []
        n_over = 0
        for one in settled:
            held = one.reservation
            units = held.units if one.usd is None else min(units_of(one.usd), MOST_UNITS)
            n_over += units > held.units
            shares = split_by_tenant(units, held.shares if held.units else held.wanted.shares)
            ends.append((held, shares))
            ended.append(rows.settled(at, one, units, shares))
            parts = question_units(shares, one.questions) if one.questions else []
            costs.append(tuple(map(usd_of, parts)))
            asked += rows.asked(held.id, one.questions, parts)
        self._end(ends, ended, asked)
        if n_over and not self.n_over_reserved and self._on_warning:
            self._on_warning(
                "a request was charged above its worst case: the endpoint counts more tokens than were sent or allowed,"
                " so a budget can be overshot by as much"
            )
        self.n_over_reserved += n_over
        return costs

    def release(self, released: Sequence[Release]) -> None:
        """Take reservations back whose requests were surely not charged, in one transaction.

        Raises:
            InputError: the ledger cannot be written.
            ValueError: a reservation that was ended before or is another purse's.
        """
        at = self._clock()
        ends = [(one.reservation, dict.fromkeys(one.reservation.shares, 0)) for one in released]
        self._end(ends, [rows.released(at, one, shares) for one, (_, shares) in zip(released, ends, strict=True)], [])

    def _end(
        self,
        ends: Sequence[tuple[Reservation, Mapping[str, int]]],
        ended: Sequence[rows.Row],
        asked: Sequence[rows.Row],
    ) -> None:
        """Put what was charged to each tenant in the place of what was held."""
        ids = {held.id for held, _ in ends}
        if len(ids) < len(ends) or not ids <= self._held.keys():
            raise ValueError("a reservation ends once, in the purse that made it")
        if not ends:
            return
        after: dict[str, int] = {}
        with database.transaction(self._sql, self._folder):
            self._totals.follow()
            for held, shares in ends:
                old = self._held[held.id]
                for scope, part in self._parts(held.day, shares).items():
                    before = after[scope] if scope in after else self._totals.of(scope)
                    after[scope] = before + part - old[scope]
            self._sql.executemany(rows.END, ended)
            if asked:
                self._sql.executemany(rows.ASK, asked)
            self._totals.write(after)
        self._totals.keep(after)
        for number in ids:
            self._count(self._held.pop(number), -1)
        if self._on_spent:
            self._tell(after, self._on_spent)

    def _tell(self, after: Mapping[str, int], on_spent: Callable[[Spent], None]) -> None:
        for scope, units in after.items():
            if (bound := self._bounds.get(scope)) is not None:
                spent = units - self._in_flight.get(scope, 0)
                on_spent(Spent(budget=label(scope), spent_usd=usd_of(spent), budget_usd=usd_of(bound)))

    def _fits(self, after: Mapping[str, int], parts: Mapping[str, int]) -> bool:
        bounds = self._bounds
        return all(scope not in bounds or after[scope] + part <= bounds[scope] for scope, part in parts.items())

    def _refusal(self, after: Mapping[str, int], parts: Mapping[str, int]) -> Refusal:
        """Say which budget has no room for these parts: one that never will before one that has all in flight."""
        refusals = []
        for scope, part in parts.items():
            bound = self._bounds.get(scope)
            if bound is not None and after[scope] + part > bound:
                charged = self._totals.of(scope) - self._in_flight.get(scope, 0)
                refusals.append(
                    Refusal(
                        budget=label(scope),
                        budget_usd=usd_of(bound),
                        charged_usd=usd_of(charged),
                        wanted_usd=usd_of(part),
                        is_final=charged + part > bound,
                    )
                )
        return max(refusals, key=lambda one: one.is_final)

    def _parts(self, day: str, shares: Mapping[str, int]) -> dict[str, int]:
        """Return what a request's shares count for in each scope."""
        whole = sum(shares.values())
        parts = {self._run: whole, f"day:{day}": whole}
        for tenant, part in shares.items():
            parts[f"tenant:{tenant}"] = part
        return parts

    def _count(self, parts: Mapping[str, int], sign: int) -> None:
        for scope, part in parts.items():
            self._in_flight[scope] = self._in_flight.get(scope, 0) + sign * part

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = os.lstat(self._database)  # a Path costs as much as the call
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino
