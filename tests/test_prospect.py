"""Plans and hosting side by side: what is taken from where, and that every figure has its source."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from prospects import FACTS, WISH, made, packs_of, plan_of, variants_of

from reviewopt import load, prospect
from reviewopt.config import load_task
from reviewopt.prospect import Prospect, TableFacts


def test_a_review_to_host_has_the_tokens_of_the_first_models_packs() -> None:
    work = made().hosting
    assert work is not None
    assert (work.workload.input_tokens, work.workload.output_tokens) == (180.0, 12.0)
    assert work.workload.request_tokens == pytest.approx(192 * 25)
    assert work.workload.n_monthly == 10_000  # as many as the table has, where nobody says
    assert [one.api for one in work.break_even] == ["cheap", "strong"]


def test_units_of_characters_are_no_tokens() -> None:
    found = made(billed_otherwise=frozenset({"cheap"}))
    assert found.hosting is not None
    assert found.hosting.workload.output_tokens == 24.0  # those of the second model
    none = made(billed_otherwise=frozenset({"cheap", "strong"}))
    assert none.hosting is None
    assert "bills tokens" in none.hosting_missing


def test_where_nothing_is_left_to_ask_nothing_is_hosted() -> None:
    found = made(variants=[packs_of("cheap", plan_of(n_asked=0, n_requests=0))])
    assert (found.hosting, found.hosting_missing) == (None, prospect.NOTHING_ASKED)
    empty = made(table=TableFacts(n_rows=3, n_texts=0, mean_complexity=None))
    assert empty.hosting is None


def test_electricity_is_the_users_else_the_countrys_else_unknown() -> None:
    own, of_us, of_fr = (
        made(wish=msgspec.structs.replace(WISH, usd_per_kwh=usd, country=country))
        for usd, country in (("0.2", "US"), (None, "US"), (None, "FR"))
    )
    for found, usd in ((own, "0.2"), (of_us, FACTS.electricity["US"].usd_per_kwh), (of_fr, None)):
        assert found.hosting is not None
        assert found.hosting.workload.usd_per_kwh == usd
    assert any("USD a kWh" in one.what for one in of_us.sources)
    assert not any("USD a kWh" in one.what for one in (*own.sources, *of_fr.sources))


def test_every_price_throughput_and_chip_that_is_shown_has_a_source_with_its_day() -> None:
    found = made()
    assert found.hosting is not None
    pages = {(one.url, one.as_of) for one in found.sources}
    for gpu in found.hosting.gpus:
        shown: list[Any] = [gpu, *filter(None, (gpu.price, gpu.speed))]
        assert {(one.source, one.as_of) for one in shown} <= pages
    assert found.hosting.tco is not None
    assert found.hosting.tco.capex is not None
    assert (found.hosting.tco.capex.source, found.hosting.tco.capex.as_of) in pages
    assert all(one.as_of is not None for one in found.sources if one.url is not None)
    assert [one.tag for one in found.sources] == [f"{at}" for at in range(1, len(found.sources) + 1)]
    assert len(pages) == len([one for one in found.sources if one.url is not None]) + 1  # what has none has no page


def test_what_is_unverified_says_so_among_the_sources() -> None:
    doubts = {one.what: one.unverified for one in made().sources}
    assert doubts["gCO2 a kWh in US, 2023"] == "US"
    (l4,) = (doubt for what, doubt in doubts.items() if what == "peaks and memory of L4")
    assert "sparsity" in l4


def test_what_is_too_old_says_so() -> None:
    new, old = (made(today=day).sources for day in (date(2026, 11, 22), date(2027, 9, 1)))
    assert not any("days ago" in one.unverified for one in new)
    assert all("days ago" in one.unverified for one in old if one.as_of is not None)


def test_every_assumption_has_a_source_or_was_chosen() -> None:
    assert all(one.chosen or (one.source and one.as_of) for one in made().assumptions)


def test_the_record_survives_json_with_every_key() -> None:
    found = made()
    text = msgspec.json.encode(found)
    assert msgspec.json.decode(text, type=Prospect) == found
    assert list(msgspec.json.decode(text)) == list(Prospect.__struct_fields__)
    assert msgspec.json.decode(text)["schema_version"] == prospect.SCHEMA_VERSION


def test_a_table_is_rated_by_its_rows_with_a_text(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    pl.DataFrame({"text": ["fine", "   ", "good but it broke, and nobody answered: why not?", None]}).write_csv(path)
    seen: list[int] = []
    with load.open_table([str(path)], task=load_task("sentiment"), chunk_rows=3) as table:
        found = prospect.table_facts(table, seen.append)
    assert (found.n_rows, found.n_texts, seen) == (4, 2, [3, 4])
    assert found.mean_complexity is not None
    assert 0 < found.mean_complexity < 1
    with load.open_table([str(path)], task=load_task("sentiment"), chunk_rows=100) as table:
        whole = prospect.table_facts(table, seen.append)
    assert whole.mean_complexity == pytest.approx(found.mean_complexity)


def test_the_variants_are_passed_on_unchanged() -> None:
    given = variants_of()
    assert made(variants=given).variants == tuple(given)
