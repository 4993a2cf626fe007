"""What people read of a plan. After a wanted change run with SNAPSHOTS=write, then read the difference."""

from __future__ import annotations

import io
import re

import msgspec
import pytest
from prospects import WISH, made, packs_of, plan_of, variants_of
from rich.console import Console
from test_render import same_as_snapshot

from reviewopt.prospect import Prospect
from reviewopt.render.prospect import show_prospect


def drawn(found: Prospect, width: int = 120) -> str:
    file = io.StringIO()
    show_prospect(Console(file=file, width=width, force_terminal=False), found)
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_plan_in_a_terminal(width: int) -> None:
    text = drawn(made(), width)
    same_as_snapshot(f"prospect_{width}.txt", text)
    assert max(len(line) for line in text.splitlines() if line.startswith(" ")) <= width
    assert "…" not in text, "nothing is cut"


def test_a_large_table_still_fits() -> None:
    huge = plan_of(n_asked=12_345_678, n_requests=12_345_678, usd="1234.5")
    text = drawn(made(variants=[packs_of("cheap", huge)]), 80)
    assert "12,345,678" in text
    assert "…" not in text


def test_every_tag_that_is_printed_is_explained() -> None:
    text = drawn(made())
    explained = set(re.findall(r"^\[(\d+)\]", text, re.MULTILINE))
    printed = set(re.findall(r"(?<!^)\[(\d+)\]", text, re.MULTILINE))
    assert printed <= explained
    assert explained <= printed, "and every source stands beside a figure"


def test_what_has_no_source_is_not_printed() -> None:
    text = drawn(made(wish=msgspec.structs.replace(WISH, country="FR")))
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
