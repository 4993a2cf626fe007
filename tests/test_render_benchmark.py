"""What people read of a comparison. After a wanted change run with SNAPSHOTS=write, then read the difference."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from sides import PROVEN, REVIEWS, asked, billed, measured
from test_render import same_as_snapshot

from reviewopt import benchmark
from reviewopt.benchmark.record import Benchmark
from reviewopt.render import benchmark as shown


@pytest.fixture
def made() -> Benchmark:
    """A plain and a certified run beside two clouds, one of which was asked."""
    own = measured()
    certified = measured("1.5", proven=PROVEN, seconds=95.0, parts={"strong": "1.4", "this machine": "0.1"})
    rivals = [asked(billed("aws"), own, only_ours=60, only_theirs=20, n_mixed=140), billed("google")]
    live = rivals[0].rival.live
    assert live is not None
    live.paired[certified.own.name] = live.paired[own.own.name]
    return benchmark.make(REVIEWS, [own, certified], rivals, ["list prices, without free tiers"])


@pytest.mark.parametrize("width", [80, 120])
def test_a_comparison_in_a_terminal(made: Benchmark, width: int) -> None:
    file = io.StringIO()
    shown.show(Console(file=file, width=width, force_terminal=False), made)
    text = file.getvalue()
    same_as_snapshot(f"benchmark_{width}.txt", text)
    tables = [line for line in text.splitlines() if line.startswith(" ")]
    assert max(map(len, tables)) <= width
    assert "…" not in text, "nothing is cut"


def test_a_comparison_as_markdown_has_the_same_tables_with_foreign_text_escaped(made: Benchmark) -> None:
    text = shown.markdown(made)
    same_as_snapshot("benchmark.md", text)
    assert "shop/\\|reviews\\|.csv" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} <= {9, 8, 6}
    assert text.rstrip().endswith("**")
