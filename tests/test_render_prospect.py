"""What people read of a plan. After a wanted change run with SNAPSHOTS=write, then read the difference."""

from __future__ import annotations

import io
import re
from typing import Any

import msgspec
import pytest
from prospects import WISH, made, packs_of, plan_of, variants_of
from rich.console import Console
from test_render import same_as_snapshot

from reviewopt.prospect import Prospect, Wish
from reviewopt.render.prospect import show_prospect


def drawn(found: Prospect, width: int = 120) -> str:
    file = io.StringIO()
    show_prospect(Console(file=file, width=width, force_terminal=False), found)
    return file.getvalue()


def many(n: int = 20_000_000, **changed: Any) -> Wish:
    """So many reviews a month."""
    return msgspec.structs.replace(WISH, n_monthly=n, **changed)


@pytest.mark.parametrize("width", [80, 120])
def test_a_plan_in_a_terminal(width: int) -> None:
    text = drawn(made(wish=many()), width)
    same_as_snapshot(f"prospect_{width}.txt", text)
    assert max(len(line) for line in text.splitlines() if line.startswith(" ")) <= width
    assert "…" not in text, "nothing is cut"


@pytest.mark.parametrize("width", [60, 80, 100, 104, 110])
def test_nothing_is_cut_and_no_figure_broken_where_it_is_narrow(width: int) -> None:
    huge = plan_of(n_asked=12_345_678, n_requests=12_345_678, usd="1234.5")
    for given in ([packs_of("cheap", huge)], variants_of()):
        found = made(variants=given, wish=many())
        narrow, wide = drawn(found, width), drawn(found, 200)
        assert "…" not in narrow
        assert max(len(line) for line in narrow.splitlines() if line.startswith(" ")) <= width
        figures = {word for word in narrow.split() if re.search(r"\d", word)}
        assert figures <= set(wide.split()), "no figure is broken in two"
    assert "12,345,678" in drawn(made(variants=[packs_of("cheap", huge)]), width)


@pytest.mark.parametrize(("n", "says"), [
    (1, "take none: the API costs less: A in packs (cheap) $0.000012 a month, A100 80GB, rented by the hour (1 h), $1"),
    (20_000_000, "take H100, rented by the hour (37 h), $148 a month; A in packs (cheap) $242"),
    (10**10, "take H100, rented by the hour (18,188 h, 25 at a time), $72,570 a month; A in packs (cheap) $121,212"),
])  # fmt: skip
def test_what_to_take_is_said_with_both_costs_at_the_volume_asked_about(n: int, says: str) -> None:
    text = drawn(made(wish=many(n)))
    assert says in text
    assert "the rule says A100 (T4 below .3, A100 below .7, else H100)" in text
    assert f"{n:,} review{'' if n == 1 else 's'} a month cost" in text


def test_never_unknown_and_what_pays_are_told_apart() -> None:
    text = drawn(made(wish=many(country="DE")))
    assert "unknown (bought): no source says what electricity costs in DE" in text
    assert "never: it costs as much or more at any number" in text
    assert "unknown (by the hour, whole months): no GPU can be rented" in drawn(
        made(wish=many(usd_per_hour_max="0.01"))
    )


def test_each_way_of_paying_is_named_for_what_it_is() -> None:
    text = drawn(made(wish=many()))
    assert "rented for the whole hours that the reviews take" in text
    assert "rented for 730 hours each, used or not" in text


def test_notes_of_gpus_and_what_is_chosen_are_printed() -> None:
    text = drawn(made(wish=many()))
    assert "T4: no BF16" in text
    assert "FP4" in text
    for one in made().assumptions:
        if one.chosen:
            assert re.search(rf"chosen, not measured: .*{re.escape(one.value)}", text)
    assert "share of full power while it works 1" in text
    assert "no source says what electricity emits in JP" in drawn(made(wish=many(country="JP")))


def test_spot_stands_beside_the_price_that_is_reckoned_with() -> None:
    text = drawn(made(wish=many()))
    assert "spot: $3.20 an hour" in text
    assert "20 % less than the $3.99 reckoned with" in text
    assert "spot: no price of the A100 80GB has a source" in drawn(made(wish=many(1)))


def test_what_is_empty_leaves_no_empty_place() -> None:
    text = drawn(made(wish=many(usd_per_hour_max="0.01")))
    assert " ;" not in text
    assert text.count("A100 80GB is out:") == 1


def test_every_tag_that_is_printed_is_explained() -> None:
    text = drawn(made(wish=many()))
    explained = set(re.findall(r"^\[(\d+)\]", text, re.MULTILINE))
    printed = set(re.findall(r"(?<!^)\[(\d+)\]", text, re.MULTILINE))
    assert printed <= explained
    assert explained <= printed, "and every source stands beside a figure"


def test_what_has_no_source_is_not_printed() -> None:
    text = drawn(made(wish=many(country="FR")))
    assert "no source says what electricity costs in FR: --electricity-usd gives yours" in text
    assert "bought for $" not in text
    assert "B200 is out: no price for it has a source" in text


def test_names_of_models_and_tables_are_printed_as_they_stand() -> None:
    foreign = packs_of("[bold]m\x1b[2J", plan_of())
    text = drawn(made(variants=[*variants_of()[:1], foreign]))
    assert "[bold]m?[2J" in text
    assert "\x1b" not in text


def test_where_hosting_is_not_known_the_plans_are_there_all_the_same() -> None:
    text = drawn(made(variants=[packs_of("cheap", plan_of(n_asked=0, n_requests=0))]))
    assert "A: packs" in text
    assert "hosting: nothing is left to ask" in text
