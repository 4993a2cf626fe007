"""Plans and hosting side by side: what is taken from where, and that every figure has its source."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import polars as pl
import pytest
from prospects import FACTS, WISH, made, packs_of, plan_of, variants_of

from reviewopt import load, prospect
from reviewopt.config import load_task, packaged
from reviewopt.hosting import sources
from reviewopt.hosting.figures import Hosting
from reviewopt.prospect import Prospect, TableFacts

SCHEMA = 'rewrite configs/prospect.schema.json: json.dumps(reviewopt.prospect.json_schema(), indent=2) + "\\n"'


def _hosting() -> Hosting:
    found = made().hosting
    assert found is not None
    return found


def kinds(found: Prospect) -> set[str]:
    return {about.kind for one in found.sources for about in one.about}


def test_a_review_to_host_has_the_tokens_of_the_first_models_packs() -> None:
    work = made().hosting
    assert work is not None
    assert (work.workload.input_tokens, work.workload.output_tokens) == (180.0, 12.0)
    assert work.workload.request_tokens == pytest.approx(192 * 25)
    assert [one.api for one in work.break_even] == ["cheap", "strong"]


def test_where_nobody_says_how_many_as_many_are_asked_a_month_as_the_table_asks() -> None:
    found, wished = made().hosting, made(wish=msgspec.structs.replace(WISH, n_monthly=7)).hosting
    assert found is not None
    assert wished is not None
    assert (found.workload.n_monthly, wished.workload.n_monthly) == (9_900, 7)  # of 10,000 rows


def test_the_price_of_an_api_is_that_of_a_review_that_is_asked() -> None:
    found = made().hosting
    assert found is not None
    assert Decimal(found.break_even[0].api_usd_a_thousand) == (Decimal("0.12") / 9_900 * 1000).quantize(Decimal("1e-9"))


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
    assert "USD a kWh" in kinds(of_us)
    assert "USD a kWh" not in kinds(own) | kinds(of_fr)


def test_a_country_whose_emissions_no_source_tells_leaves_only_these_out() -> None:
    found = made(wish=msgspec.structs.replace(WISH, country="JP", usd_per_kwh="0.2"))
    assert found.hosting is not None
    assert found.hosting.workload.gco2_per_kwh is None
    assert all(one.gco2_a_thousand is None for one in found.hosting.gpus)
    assert any(one.bought is not None and one.kwh_a_thousand for one in found.hosting.gpus)
    assert "gCO2 a kWh" not in kinds(found)


def test_every_price_throughput_and_chip_that_is_shown_has_a_source_with_its_day() -> None:
    found = made()
    assert found.hosting is not None
    pages = {(one.url, one.as_of) for one in found.sources}
    for gpu in found.hosting.gpus:
        bills = [one.way.price for one in (gpu.hour, gpu.month) if one is not None]
        shown: list[Any] = [gpu, *filter(None, (gpu.price, gpu.speed, *bills))]
        assert {(one.source, one.as_of) for one in shown} <= pages
    assert found.hosting.capex is not None
    assert (found.hosting.capex.source, found.hosting.capex.as_of) in pages
    assert all(one.as_of is not None or "tells no date" in one.unverified for one in found.sources)
    assert [one.tag for one in found.sources] == [f"{at}" for at in range(1, len(found.sources) + 1)]
    assert len(pages) == len(found.sources)


def test_what_is_unverified_says_so_among_the_sources() -> None:
    doubts = {(about.kind, about.of): one.unverified for one in made().sources for about in one.about}
    assert doubts["gCO2 a kWh", "US, 2023"] == "somebody's word"
    assert "sparsity" in doubts["chip", "L4"]
    assert doubts["price", "vendor:cheap, a list"] == "a list tells no date of it"


def test_a_doubt_is_told_of_the_thing_that_it_is_about_and_once() -> None:
    known = msgspec.structs.replace(FACTS.gpus[0], source=FACTS.gpus[1].source, unverified=("that one",))
    changed = msgspec.structs.replace(FACTS, gpus=(known, *FACTS.gpus[1:]))
    given = [sources.found("chip", gpu.name, gpu.source, gpu.as_of, gpu.unverified) for gpu in changed.gpus[:2]]
    (line,) = sources.tagged(given, date(2026, 11, 22))
    assert line.unverified == "T4: that one; L4: peaks: half of what is printed with sparsity"
    both = [msgspec.structs.replace(known, name=name) for name in ("X", "Y")]
    given = [sources.found("chip", gpu.name, gpu.source, gpu.as_of, gpu.unverified) for gpu in both]
    assert next(sources.tagged(given, date(2026, 11, 22))).unverified == "that one"


def test_two_throughputs_of_one_page_keep_their_own_doubts() -> None:
    speeds = {gpu.gpu: gpu.speed.unverified for gpu in _hosting().gpus if gpu.speed is not None}
    assert speeds["A100 80GB"] == ("that it had 80 GB; its batch needs more than 40",)
    assert speeds["H100"] == speeds["H200"] == ()


def test_what_is_too_old_says_so() -> None:
    new, old = (made(today=day).sources for day in (date(2026, 11, 22), date(2027, 9, 1)))
    assert not any("days old" in one.unverified for one in new)
    assert all("days old" in one.unverified for one in old if one.as_of is not None)


def test_every_assumption_has_a_source_or_was_chosen() -> None:
    assert all(one.chosen or (one.source and one.as_of) for one in made().assumptions)


def test_the_next_command_is_that_of_the_cheapest_variant_that_asks() -> None:
    assert made().next_command == "reviewopt process in.csv --models cheap --dry-run"
    dear = [packs_of("dear", plan_of(usd="3")), packs_of("cheap", plan_of(usd="2"))]
    assert made(variants=dear).next_command == "reviewopt process in.csv --models cheap --dry-run"
    assert made(variants=[packs_of("cheap", plan_of(n_asked=0, n_requests=0))]).next_command is None


def test_models_that_are_not_named_from_cheap_to_dear_are_told() -> None:
    assert made().notes == ()
    (note,) = made(variants=[packs_of("dear", plan_of(usd="3")), packs_of("cheap", plan_of(usd="2"))]).notes
    assert note.startswith("dear is named before cheap and costs more")


def test_the_schema_is_the_committed_one_and_a_prospect_follows_it() -> None:
    committed = json.loads(packaged("configs", "prospect.schema.json").read_text())
    assert prospect.json_schema() == committed, SCHEMA
    jsonschema.validate(json.loads(msgspec.json.encode(made())), committed)


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
