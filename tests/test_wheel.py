"""The wheel as a user gets it: built, installed beside nothing of the source tree, and run."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment that holds the wheel, and sees the dependencies of this one but not its editable install."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", packages, wheel],
        check=True,
        capture_output=True,
    )
    # A path in a .pth file does not have its own .pth files read, so the editable install stays unseen.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return python


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "reviewopt", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )


def test_the_wheel_holds_all_that_is_read_at_run_time(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "reviewopt/packaged/configs/default.toml",
        "reviewopt/packaged/configs/benchmark.schema.json",
        "reviewopt/packaged/configs/certificate.schema.json",
        "reviewopt/packaged/configs/comparison.schema.json",
        "reviewopt/packaged/configs/gpus.toml",
        "reviewopt/packaged/configs/prospect.schema.json",
        "reviewopt/packaged/configs/report.schema.json",
        "reviewopt/packaged/configs/run.schema.json",
        "reviewopt/packaged/configs/tasks/sentiment.toml",
        "reviewopt/packaged/data/o200k_base.tiktoken.gz",
        "reviewopt/packaged/data/sample_reviews.parquet",
        "reviewopt/local/weights/sentiment.npz",
        "reviewopt/local/weights/sentiment.card.json",
        "reviewopt/py.typed",
    } <= names
    assert not [name for name in names if name.startswith("tests/")]


def test_the_weights_are_at_most_two_and_a_half_megabytes(wheel: Path) -> None:
    assert zipfile.ZipFile(wheel).getinfo("reviewopt/local/weights/sentiment.npz").file_size <= 2_500_000


def test_the_installed_program_is_the_wheel_and_labels_the_packaged_sample(program: Path, tmp_path: Path) -> None:
    where = subprocess.run(
        [program, "-c", "from reviewopt.config import packaged; print(packaged('data', 'sample_reviews.parquet'))"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert Path(where).is_relative_to(program.parent.parent)
    assert run(program, tmp_path, "--version").stdout.startswith("reviewopt ")
    assert "process" in run(program, tmp_path, "--help").stdout
    done = run(program, tmp_path, "process", where)
    assert done.returncode == 0, done.stderr
    assert "400 reviews labelled in sample_reviews.labelled.parquet" in done.stdout
