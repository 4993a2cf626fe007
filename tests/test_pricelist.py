"""The packaged prices: what may stand in the file, and how old it is."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from reviewopt import pricelist
from reviewopt.errors import InputError

TODAY = date(2026, 11, 22)

SERVICE = """
[[services]]
provider = "aws"
sku = "sentiment"
name = "Amazon Comprehend, sentiment"
measured_in = "characters"
unit = 100
minimum_units = 3
tiers = [{up_to_units = 10, usd = "0.002"}, {up_to_units = 20, usd = "0.001"}, {usd = "0.0005"}]
free_units = 5
free_kind = "deducted"
docs_a_second = "250"
source = "https://example.com/prices"
as_of = 2026-11-22
"""
GPU = """
[[gpus]]
gpu = "T4"
offer = "spot"
usd_per_hour = "0.30"
low_usd = "0.20"
high_usd = "0.30"
kind = "spot"
source = "https://example.com/gpus"
as_of = 2026-11-22
"""
MODEL = """
[models."mine:small"]
input_usd = "0.10"
output_usd = "0"
source = "https://example.com/models"
as_of = 2026-11-22
"""
WHOLE = MODEL + SERVICE + GPU


def written(folder: Path, text: str) -> Path:
    path = folder / "prices.toml"
    path.write_text(text)
    return path


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    made = pricelist.read(written(tmp_path, WHOLE))
    assert [len(made.models), len(made.services), len(made.gpus)] == [1, 1, 1]
    assert made.services[0].key == "aws:sentiment"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('usd = "0.002"', 'usd = "-0.002"'),
        ('usd = "0.002"', 'usd = "nan"'),
        ('usd = "0.002"', 'usd = "inf"'),
        ('usd = "0.002"', 'usd = "1e-3"'),
        ('usd = "0.002"', "usd = 0.002"),
        ('usd = "0.002"', 'usd = ""'),
        ('usd = "0.002"', 'usd = "0.0009"'),  # the next tier would be dearer
        ("up_to_units = 10,", "up_to_units = 20,"),
        ("up_to_units = 10,", "up_to_units = 30,"),
        ("up_to_units = 10,", "up_to_units = -1,"),
        ("up_to_units = 20, ", ""),
        ('{usd = "0.0005"}', '{up_to_units = 40, usd = "0.0005"}'),
        ("unit = 100", "unit = 0"),
        ("minimum_units = 3", "minimum_units = 0"),
        ("free_units = 5", "free_units = -5"),
        ("free_units = 5\n", ""),
        ('free_kind = "deducted"', 'free_kind = "none"'),
        ('docs_a_second = "250"', 'docs_a_second = "0"'),
        ('docs_a_second = "250"', 'docs_a_second = "-1"'),
        ('measured_in = "characters"', 'measured_in = "words"'),
        ('source = "https://example.com/prices"', 'source = "somebody"'),
        ('name = "Amazon', 'nmae = "Amazon'),
        ('usd_per_hour = "0.30"', 'usd_per_hour = "0"'),
        ('usd_per_hour = "0.30"', 'usd_per_hour = "0.31"'),
        ('usd_per_hour = "0.30"', 'usd_per_hour = "0.19"'),
        ('low_usd = "0.20"\n', ""),
        ('input_usd = "0.10"', 'input_usd = "-1"'),
        ('output_usd = "0"', 'output_usd = "inf"'),
        ("as_of = 2026-11-22", 'as_of = "soon"'),
        ("[models", "[models"),
    ],
)
def test_a_price_that_cannot_be_meant_is_an_error(old: str, new: str, tmp_path: Path) -> None:
    assert old in WHOLE
    text = WHOLE.replace(old, new, 1) if old != new else WHOLE + GPU  # the last: an entry that stands there twice
    with pytest.raises(InputError, match=r"prices\.toml: the packaged prices cannot be read.*install reviewopt again"):
        pricelist.read(written(tmp_path, text))


@pytest.mark.parametrize("text", ["", "[models]\n", "no toml", "[models]\nservices = 1\ngpus = []\n"])
def test_a_damaged_file_is_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        pricelist.read(written(tmp_path, text))
    with pytest.raises(InputError, match="cannot be read"):
        pricelist.read(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="cannot be read"):
        pricelist.read(tmp_path / "bytes.toml")


@pytest.mark.parametrize(("days", "is_stale"), [(-1, True), (0, False), (180, False), (181, True)])
def test_a_price_is_stale_after_half_a_year_or_from_the_future(days: int, is_stale: bool, tmp_path: Path) -> None:
    made = pricelist.ages(pricelist.read(written(tmp_path, WHOLE)), TODAY + timedelta(days=days))
    assert [(age.kind, age.name) for age in made] == [
        ("model", "mine:small"),
        ("service", "aws:sentiment"),
        ("gpu", "T4, spot"),
    ]
    assert {(age.age_days, age.is_stale) for age in made} == {(days, is_stale)}


def test_the_packaged_list_has_what_comparisons_and_plans_need() -> None:
    made = pricelist.read()
    assert {one.provider for one in made.services if one.sku == "sentiment"} == {"aws", "google", "azure"}
    assert {one.gpu for one in made.gpus} == {"T4", "L4", "L40S", "A100 40GB", "A100 80GB", "H100", "H200", "B200"}
    assert {one.kind for one in made.gpus} == {"on-demand", "spot", "market"}
    assert all(age.age_days >= 0 for age in pricelist.ages(made, TODAY))


def test_what_nobody_could_check_says_so() -> None:
    doubts = {one.key: one.unverified for one in pricelist.read().services}
    assert "tiers 2 and 3" in doubts["aws:sentiment"]
    assert "all tiers" in doubts["aws:targeted_sentiment"]
    assert "tiers 2 to 4" in doubts["azure:sentiment"]
    assert doubts["google:sentiment"] == ("limits",)
