"""The packaged facts of GPUs: each with its source, none at odds with another, and no figure for what has none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reviewopt import pricelist
from reviewopt.config import packaged
from reviewopt.errors import InputError
from reviewopt.hosting import facts
from reviewopt.hosting.facts import PRECISIONS, WEIGHT_BYTES


def changed(tmp_path: Path, before: str, after: str) -> Path:
    """The packaged facts with the first `before` replaced."""
    text = packaged("configs", "gpus.toml").read_text()
    assert before in text
    path = tmp_path / "gpus.toml"
    path.write_text(text.replace(before, after, 1))
    return path


def test_the_seven_gpus_are_there_the_a100_with_both_memories() -> None:
    names = [one.name for one in facts.read().gpus]
    assert names == ["T4", "L4", "L40S", "A100 40GB", "A100 80GB", "H100", "H200", "B200"]


def test_every_priced_gpu_is_known_and_every_known_gpu_has_a_price() -> None:
    assert {one.gpu for one in pricelist.read().gpus} == {one.name for one in facts.read().gpus}


def test_what_is_let_only_by_several_says_by_how_many() -> None:
    for one in pricelist.read().gpus:
        named = re.search(r"\bof (\d+)\b|\b(\d+) GPUs", one.offer)
        assert one.n_gpus_least == (int(named[1] or named[2]) if named else 1), one.offer


def test_sources_are_pages_or_files_and_no_whole_repositories() -> None:
    known = facts.read()
    sources = [one.source for one in pricelist.read().gpus] + [one.source for one in known.gpus]
    sources += [one.source for one in known.throughputs] + [one.source for one in known.relative]
    assert not [one for one in sources if re.fullmatch(r"https://github\.com/[^/]+/[^/]+/?", one)]


def test_peaks_are_dense_so_that_halving_the_bits_at_most_doubles_them() -> None:
    for gpu in facts.read().gpus:
        for wide, narrow in (("fp16", "int8"), ("fp16", "fp8"), ("int8", "int4")):
            if wide in gpu.peak and narrow in gpu.peak:
                assert gpu.peak[narrow] / gpu.peak[wide] <= 2.03, gpu.name


@pytest.mark.parametrize(("gpu", "precision", "runs"), [
    ("T4", "fp8", "weights"), ("A100 80GB", "fp8", "weights"), ("H100", "fp8", "compute"), ("H100", "int4", "weights"),
    ("B200", "int8", "no"), ("B200", "int4", "compute"), ("L4", "fp8", "compute"),
])  # fmt: skip
def test_what_a_gpu_supports(gpu: str, precision: facts.Precision, runs: str) -> None:
    assert facts.read().gpu(gpu).runs[precision] == runs


def test_a_gpu_without_8_bit_floats_has_no_peak_in_them() -> None:
    for gpu in facts.read().gpus:
        assert gpu.runs["fp8"] == "compute" or "fp8" not in gpu.peak


def test_nothing_is_published_for_a_t4() -> None:
    assert all(one.gpu != "T4" for one in facts.read().throughputs)


def test_what_the_packaged_facts_compare_has_one_software() -> None:
    # Figures of 2023 stand beside newer ones only as a share of a GPU of the same table.
    assert {one.software.split(",")[0] for one in facts.read().throughputs} == {"TensorRT-LLM 1.0"}
    assert [(one.gpu, one.beside) for one in facts.read().relative] == [("A100 80GB", "H100")]


def test_rough_estimates_of_what_a_gpu_is_bought_for_are_left_out() -> None:
    assert {one.name for one in facts.read().gpus if one.capex is not None} == {"A100 80GB", "H100"}
    assert all(one.capex is None or one.capex.n_gpus_least == 4 for one in facts.read().gpus)


def test_labelling_is_priced_by_all_tokens_not_by_those_written() -> None:
    h100 = next(one for one in facts.read().throughputs if one.gpu == "H100")
    long = next(one for one in h100.measured if one.input_tokens == 2048)
    assert long.tokens_a_second == 58_650  # 3,450 written, 16 times as many read


def test_every_precision_has_its_bytes() -> None:
    assert tuple(WEIGHT_BYTES) == PRECISIONS


Change = Callable[[Path], Path]


@pytest.mark.parametrize(("before", "after", "says"), [
    ('name = "L4"', 'name = "T4"', "twice"),
    ('gpu = "H200"', 'gpu = "H2000"', "H2000"),
    ('beside = "H100"', 'beside = "H1000"', "H1000"),
    ('fp8 = "weights", int4', 'int4', "says nothing of fp8"),
    ('precision = "fp16"', 'precision = "fp8"', "does not compute"),
    ('source = "https://www.nvidia.com', 'source = "www.nvidia.com', "source"),
    ('low_usd = "8000"', 'low_usd = "80000"', "no range"),
    ('value = "1.54"', 'value = "0.9"', "PUE"),
    ('value = "0.9"', 'value = "9"', "usable_memory_share"),
    ("chosen = true", "", "source"),
    ('value = "1.82"', 'value = "0.9"', "power of a server"),
    ("board_w = 70", "board_w = 70\nwatts = 70", "watts"),
])  # fmt: skip
def test_damaged_facts_are_refused_with_what_is_wrong(tmp_path: Path, before: str, after: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        facts.read(changed(tmp_path, before, after))
