"""`reviewopt prices`: the list for people and for programs, and what is too old; what a tier's model may do."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import msgspec
import pytest
from rich.console import Console

from reviewopt import pricelist
from reviewopt.cli import prices as cli_prices
from reviewopt.errors import GateError, InputError
from reviewopt.pricelist import GpuPrice, ListedModel, Listing, OtherPrices, PriceList, ServicePrice, Tier
from reviewopt.render.prices import show_prices

Run = Callable[..., CompletedProcess[str]]

SNAPSHOTS = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("SNAPSHOTS") == "write"
TODAY = date(2026, 11, 22)
NEW, OLD, COMING = date(2026, 11, 20), date(2026, 3, 1), date(2027, 1, 1)
PAGE = "https://example.com/a-page-of-prices-with-a-long-address/for-each-region/us-east"


def service(sku: str, *tiers: Tier, as_of: date = NEW, **others: Any) -> ServicePrice:
    usual = {
        "provider": "cloud", "sku": sku, "name": f"Cloud, {sku}", "measured_in": "characters", "unit": 100,
        "minimum_units": 3, "tiers": tiers, "source": PAGE, "as_of": as_of,
    }  # fmt: skip
    return msgspec.convert(usual | others, ServicePrice)


def listing(*, stale: bool) -> Listing:
    """A price of each form; with `stale` one that is too old, and one of a day to come."""
    tiers = (Tier(up_to_units=250_000, usd="0.0001"), Tier(up_to_units=2_500_000, usd="0.00005"), Tier(usd="0.0000125"))
    free: dict[str, Any] = {
        "free_units": 50_000,
        "free_kind": "deducted",
        "free_note": "the first 50,000 units of each month",
    }
    prices = PriceList(
        models={
            "mine:small": ListedModel(input_usd="0.042", output_usd="0", as_of=NEW, source=PAGE),
            "mine:[red]": ListedModel(input_usd="1", output_usd="2", as_of=NEW, source=PAGE, unverified=True),
        },
        services=(
            service("sentiment", *tiers, **free, unverified=("tiers 2 and 3",), limits_note="25 documents a request"),
            service("endpoint", Tier(usd="0.0005"), measured_in="seconds", unit=1, minimum_units=60),
            service("entities", *tiers, provider="other", legacy="legacy", as_of=OLD if stale else NEW),
        ),
        gpus=(
            GpuPrice(
                gpu="H100", offer="A cloud, some-region-1, a machine of 8, on demand", usd_per_hour="6.88",
                kind="on-demand", source=PAGE, as_of=COMING if stale else NEW,
            ),
            GpuPrice(
                gpu="H100", offer="A market", usd_per_hour="3.99", low_usd="1.99", high_usd="3.99", kind="market",
                source="https://example.com/market", as_of=NEW, unverified=True,
            ),
        ),
    )  # fmt: skip
    others = OtherPrices(package="genai-prices", version="9.9", n_providers=2, n_models=1234, as_of=None)
    return Listing(
        schema_version=1, today=TODAY, most_age_days=180, ages=pricelist.ages(prices, TODAY), prices=prices,
        others=others,
    )  # fmt: skip


def drawn(listed: Listing, width: int) -> str:
    file = io.StringIO()
    show_prices(Console(file=file, width=width, force_terminal=False), listed)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def same_as_snapshot(name: str, text: str) -> None:
    path = SNAPSHOTS / name
    if WRITE:
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_in_a_terminal(width: int) -> None:
    same_as_snapshot(f"prices_{width}.txt", drawn(listing(stale=False), width))


def test_what_is_stale_is_told_last() -> None:
    same_as_snapshot("prices_stale.txt", drawn(listing(stale=True), 120))


def test_the_list_as_json_has_all_keys_and_money_as_strings() -> None:
    same_as_snapshot("prices.json", msgspec.json.format(msgspec.json.encode(listing(stale=True))).decode() + "\n")


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_of_the_packaged_list_is_cut(width: int) -> None:
    prices = pricelist.read()
    shown = drawn(
        Listing(
            schema_version=1, today=TODAY, most_age_days=180, ages=pricelist.ages(prices, TODAY), prices=prices,
            others=listing(stale=False).others,
        ),
        width,
    )  # fmt: skip
    assert "…" not in shown
    assert all(len(line) <= width for line in shown.splitlines() if "https://" not in line)
    one_line = " ".join(shown.split())
    sources = {one.source for one in prices.services} | {one.source for one in prices.gpus}
    assert all(source in one_line for source in sources | {one.source for one in prices.models.values()})
    assert all(one.usd_per_hour in shown for one in prices.gpus)
    assert all(note in one_line for one in prices.services for note in (one.free_note, one.limits_note, one.legacy))


def test_the_command_prints_the_packaged_list(inside: Run) -> None:
    shown = inside("prices")
    assert shown.returncode == 0
    assert "targeted_sentiment" in shown.stdout
    assert "other models: genai-prices" in shown.stdout
    as_json = json.loads(inside("prices", "--json").stdout)
    assert next(iter(as_json)) == "schema_version"
    assert as_json["prices"]["services"][0]["tiers"][-1] == {"up_to_units": None, "usd": "0.000025"}
    assert as_json["others"]["n_models"] > 1000
    assert len(as_json["ages"]) == sum(len(one) for one in as_json["prices"].values())


def test_the_check_of_the_packaged_list_fails_exactly_where_a_price_is_stale(inside: Run) -> None:
    checked = inside("prices", "--check", "--json")
    stale = [age["name"] for age in json.loads(checked.stdout)["ages"] if age["is_stale"]]
    assert checked.returncode == (1 if stale else 0)
    assert all(name in checked.stderr for name in stale)


def test_the_check_names_what_is_stale() -> None:
    cli_prices._check(listing(stale=False))
    with pytest.raises(GateError, match=r"2 of 7 prices.*other:entities: of 2026-03-01, 266 days old; H100, A cloud"):
        cli_prices._check(listing(stale=True))


def test_damage_fails_the_check_and_is_an_input_error_without_it(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text("[models]\n")
    with pytest.raises(GateError, match="cannot be read"):
        cli_prices._read(tmp_path / "prices.toml", is_check=True)
    with pytest.raises(InputError, match="cannot be read"):
        cli_prices._read(tmp_path / "prices.toml", is_check=False)


# A model of a cheaper tier


def settings_of(processing: str) -> str:
    return f"""
    [models.small]
    model = "gpt-5-mini"
    base_url = "http://127.0.0.1:9/v1"
    price = "openai:gpt-5-mini"
    processing = "{processing}"
    """


def test_a_cheaper_tier_is_priced_by_a_plan(inside: Run) -> None:
    Path("reviews.csv").write_text("text\ngood\nbad\nnot so good\n")
    usd = {}
    for processing in ("standard", "batch"):
        Path("reviewopt.toml").write_text(settings_of(processing))
        planned = inside("process", "reviews.csv", "--model", "small", "--dry-run", "--json")
        usd[processing] = Decimal(json.loads(planned.stdout)["usd"]["expected"])
    assert usd["batch"] == usd["standard"] / 2


@pytest.mark.parametrize("processing", ["batch", "flex"])
def test_a_cheaper_tier_is_never_sent(processing: str, inside: Run) -> None:
    Path("reviews.csv").write_text("text\ngood\n")
    Path("reviewopt.toml").write_text(settings_of(processing))
    sent = inside("process", "reviews.csv", "--model", "small")
    assert sent.returncode == 2
    assert f"processing = '{processing}' is priced by --dry-run" in sent.stderr


def test_an_unknown_tier_is_no_setting(inside: Run) -> None:
    Path("reviews.csv").write_text("text\ngood\n")
    Path("reviewopt.toml").write_text(settings_of("batchh"))
    assert inside("process", "reviews.csv", "--model", "small", "--dry-run").returncode == 2
