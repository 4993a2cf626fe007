"""The README is kept: its commands run, and what it prints is what the tool prints."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import Run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
COMMANDS = [line[2:].split(" #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith("$ ")]
TOPICS = """
name = "topics"
instructions = "What is the ticket about?"
[[fields]]
type = "choice"
name = "topic"
labels = ["billing", "shipping"]
"""
# What differs between two runs: seconds, speed, run and the machine's cost.
CHANGING = re.compile(r"· [\d.,]+ s · [\d,]+ reviews/s · run \S+|\$[\d.e-]+|[\d.]+ s at")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder that has the files the README speaks of."""
    (tmp_path / "data").mkdir()
    shutil.copy(ROOT / "data" / "sample_reviews.parquet", tmp_path / "data")
    shutil.copy(ROOT / "data" / "sample_reviews.parquet", tmp_path / "reviews.parquet")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.csv").write_text("comment\ngood\nbad\n")
    labelled = [
        f"{at},{('I love it', 'It broke again')[at % 2]} {at},{('positive', 'negative')[at % 2]}" for at in range(200)
    ]
    (tmp_path / "labelled.csv").write_text("\n".join(["id,text,label", *labelled]))
    tickets = [
        f"{at},{('pay the bill', 'where is my parcel')[at % 2]} {at},{('billing', 'shipping')[at % 2]}"
        for at in range(200)
    ]
    (tmp_path / "tickets.csv").write_text("\n".join(["id,text,label", *tickets]))
    (tmp_path / "topics.toml").write_text(TOPICS)
    (tmp_path / "new.csv").write_text("text\nthe bill is wrong\n")
    return tmp_path


def test_every_command_of_the_readme_runs(inside: Run, shop: Path) -> None:
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        if "hf://" in command or "|" in command:
            continue  # needs the network; and standard input is tested in test_cli.py
        words = [
            word
            for part in shlex.split(command)[1:]
            for word in (sorted(map(str, shop.glob(part))) if "*" in part else [part])
        ]
        done = inside(*words)
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_the_report_in_the_readme_is_what_the_tool_prints(inside: Run, shop: Path) -> None:
    block = next(block for block in BLOCKS if block.startswith("$ reviewopt process data/sample_reviews.parquet"))
    done = inside("process", "data/sample_reviews.parquet", COLUMNS="80")
    printed = [line.rstrip() for line in CHANGING.sub("?", done.stdout).splitlines()]
    assert [line.rstrip() for line in CHANGING.sub("?", block).splitlines()[1:]] == printed
    assert shop.joinpath("sample_reviews.labelled.parquet").exists()
