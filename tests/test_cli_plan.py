"""`reviewopt plan` as a user calls it: the plans are those of `process --dry-run`, and nothing is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from conftest import Run

from reviewopt.prospect import Prospect
from reviewopt.route import STRATEGIES

SAID = ("it broke after a week and I want my money back", "lovely, just as described", "not bad but not good either")
# Without near copies, whose lists of words take longer to read than a few rows to plan.
FAST = '[ladder]\nlocal = false\n[dedup]\nnear = "off"\n[cache.similar]\nenabled = false\n'
MODEL = """
[models.{name}]
model = "{name}-1"
base_url = "http://127.0.0.1:9/v1"
api_key_env = "NO_SUCH_KEY"
price = {{ input_usd = {usd}, output_usd = {usd} }}
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    pl.DataFrame({"text": [f"{SAID[at % 3]} {at}" for at in range(12)] + [""]}).write_csv(path)
    return path


def settle(table: Path, more: str = "", *models: tuple[str, float]) -> None:
    named = "".join(MODEL.format(name=name, usd=usd) for name, usd in models)
    table.with_name("reviewopt.toml").write_text(f"{more}\n{named}")


def planned(run: Run, table: Path, *options: str) -> tuple[dict[str, Any], dict[tuple[str, str, str], dict[str, Any]]]:
    """What `plan --json` says, and its plans by kind, models and strategy."""
    done = run("plan", table, "--json", *options)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    by = {(one["kind"], ",".join(one["models"]), one["strategy"] or ""): one["plan"] for one in made["variants"]}
    return made, by


def dry(run: Run, table: Path, *options: str) -> dict[str, Any]:
    done = run("process", table, *options, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def test_the_plans_are_those_of_process(inside: Run, table: Path) -> None:
    settle(table, f"{FAST}[pack]\nsize = 10", ("cheap", 0.1))
    made, by = planned(inside, table)
    assert (made["models"], made["is_example"]) == (["cheap"], False)
    assert by["naive", "cheap", ""] == dry(inside, table, "--model", "cheap", "--naive")
    assert by["packs", "cheap", ""] == dry(inside, table, "--model", "cheap")
    assert by["local", "", ""] is None
    assert (made["table"]["n_rows"], made["table"]["n_texts"]) == (13, 12)
    assert msgspec.json.decode(json.dumps(made), type=Prospect).variants[0].command == f"reviewopt process {table}"
    assert not list(table.parent.glob("*labelled*"))


def test_the_plans_of_a_ladder_are_those_of_process_by_each_strategy(inside: Run, table: Path) -> None:
    settle(table, FAST.replace("local = false", ""), ("cheap", 0.1))
    _, by = planned(inside, table)
    assert [key[2] for key in by if key[0] == "ladder"] == list(STRATEGIES)
    for strategy in ("performance", "adaptive"):  # the second shares its plan with balanced
        assert by["ladder", "cheap", strategy] == dry(inside, table, "--models", "cheap", "--strategy", strategy)
    assert by["ladder", "cheap", "performance"] != by["ladder", "cheap", "adaptive"]


def test_it_says_what_each_variant_takes_and_where_every_figure_is_from(inside: Run, table: Path) -> None:
    settle(table, FAST, ("cheap", 0.1))
    done = inside("plan", table, "--monthly", "1000000")
    assert done.returncode == 0, done.stderr
    for said in ("local model alone", "A: one a request", "A: packs", "take ", "a month on the", "spot: ", "energy: "):
        assert said in done.stdout
    assert "150,000 reviews/s on one core and $0.1 an hour, chosen, not measured here" in done.stdout
    assert "ladder" not in done.stdout.replace("--models", "")  # one model alone, and no local rung: nothing climbs
    assert "[1] price of own price of cheap" in done.stdout
    assert "1,000,000 reviews a month cost" in done.stdout
    assert ", as of 2026-" in done.stdout
    quiet = inside("plan", table, "--quiet", "--country", "jp")  # of which no source tells anything
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


@pytest.mark.parametrize(("options", "says"), [
    (("--country", "USA"), "did you mean US"),
    (("--model", "a", "--models", "a,b"), "name one of the two"),
    (("--models", "cheap,cheap"), "name each model once"),
    (("--models", "cheep"), "did you mean cheap"),
    (("--urgency", "soon"), "soon"),
    (("--utilisation", "0"), "0"),
    (("--electricity-usd", "inf"), "--electricity-usd inf: name an amount of USD"),
    (("--hardware-usd-per-hour", "inf"), "--hardware-usd-per-hour inf: name an amount of USD"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(inside: Run, table: Path, options: tuple[str, ...], says: str) -> None:
    settle(table, "", ("cheap", 0.1))
    done = inside("plan", table, *options)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""


def test_standard_input_cannot_be_planned(inside: Run, table: Path) -> None:
    done = inside("plan", "-", stdin=table.read_text())
    assert done.returncode == 2
    assert "read only once" in done.stderr
