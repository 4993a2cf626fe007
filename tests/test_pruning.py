"""What `prune` deletes, and what it never does."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes import process
from recorded import IDS, keep

from reviewopt import past, runs
from reviewopt.errors import InputError
from reviewopt.runs import Home

NOW_S = datetime(2026, 2, 1, tzinfo=UTC).timestamp()
JANUARY_3_S = datetime(2026, 1, 3, tzinfo=UTC).timestamp()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with four runs of four days."""
    made = Home(tmp_path / "home")
    for run_id in IDS[:4]:
        keep(made, run_id)
    return made


def prune(home: Home, *, keep: int | None = 0, before_s: float | None = None) -> past.Pruned:
    return past.prune(home, now_s=NOW_S, keep=keep, before_s=before_s, is_deleting=True)


def left(home: Home) -> list[str]:
    return sorted(path.name for path in (home.path / "runs").iterdir())


def test_without_leave_nothing_is_deleted_and_what_would_be_is_said(home: Home) -> None:
    made = past.prune(home, now_s=NOW_S, keep=1)
    assert left(home) == list(IDS[:4])
    assert ([one.run_id for one in made.gone], made.is_deleted, made.n_left) == (list(IDS[:3]), False, 1)
    size = (home.path / "runs" / IDS[0] / "run.json").stat().st_size
    assert (made.gone[0].n_bytes, made.n_bytes) == (size, 3 * size)


def test_the_latest_runs_stay_and_nothing_else_of_the_home_goes(home: Home) -> None:
    (home.path / "spend").mkdir()
    (home.path / "spend" / "spend.db").touch()
    made = prune(home, keep=2)
    assert (left(home), made.is_deleted, made.n_left) == (list(IDS[2:4]), True, 2)
    assert (home.path / "spend" / "spend.db").exists()


def test_as_many_as_there_are_and_more_can_stay(home: Home) -> None:
    for n in (4, 5):
        assert prune(home, keep=n).gone == ()


def test_only_runs_that_began_before_the_day_go(home: Home) -> None:
    assert [one.run_id for one in prune(home, keep=None, before_s=JANUARY_3_S).gone] == list(IDS[:2])


def test_of_both_limits_both_must_hold(home: Home) -> None:
    assert [one.run_id for one in prune(home, keep=3, before_s=JANUARY_3_S).gone] == [IDS[0]]


def test_a_run_that_still_works_stays(home: Home) -> None:
    living = runs.Recorder(home.path / "runs" / IDS[1])
    try:
        made = prune(home)
        assert left(home) == [IDS[1]]
        assert [(one.run_id, one.reason) for one in made.held] == [(IDS[1], "it is running")]
    finally:
        living.close()
    assert prune(home).n_left == 0


def test_a_link_is_not_followed(home: Home, tmp_path: Path) -> None:
    elsewhere = keep(Home(tmp_path / "other"), IDS[4])
    (home.path / "runs" / IDS[4]).symlink_to(elsewhere)
    (home.path / "runs" / IDS[0] / "staged").symlink_to(elsewhere)
    made = prune(home)
    assert [(one.run_id, one.reason) for one in made.held] == [(IDS[4], "it is a link")]
    assert left(home) == [IDS[4]]
    assert sorted(path.name for path in elsewhere.iterdir()) == ["lock", "run.json"]


def test_a_lock_that_is_a_link_is_not_opened(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lock = home.path / "runs" / IDS[0] / "lock"
    lock.unlink()
    lock.symlink_to(tmp_path / "file")
    assert [one.run_id for one in prune(home).held] == [IDS[0]]


def test_nothing_is_deleted_through_a_linked_folder_of_runs(home: Home, tmp_path: Path) -> None:
    linked = Home(tmp_path / "linked")
    linked.path.mkdir()
    (linked.path / "runs").symlink_to(home.path / "runs")
    with pytest.raises(InputError, match="is a link"):
        prune(linked)
    assert left(home) == list(IDS[:4])


@pytest.mark.parametrize("name", ["mine", "20260101", f"{IDS[0]}.bak", f"x{IDS[0]}"])
def test_a_folder_that_is_not_named_as_a_run_stays(home: Home, name: str) -> None:
    keep(home, name)
    prune(home)
    assert left(home) == [name]


def test_a_name_that_is_no_time_and_a_file_stay(home: Home) -> None:
    keep(home, "99999999-999999-999999")
    (home.path / "runs" / IDS[5]).touch()
    assert [one.reason for one in prune(home).held] == ["it is no folder", "its name is no time"]


def test_a_folder_that_holds_a_table_stays_whole(home: Home) -> None:
    (home.path / "runs" / IDS[0] / "labelled.parquet").touch()
    made = prune(home)
    assert [one.reason for one in made.held] == ["it holds what is not the run's: labelled.parquet"]
    assert (home.path / "runs" / IDS[0] / "run.json").exists()


def test_a_run_that_may_be_about_to_begin_stays_for_an_hour(home: Home) -> None:
    (home.path / "runs" / IDS[5]).mkdir()
    began_s = datetime(2026, 1, 6, 3, 4, 5, tzinfo=UTC).timestamp()
    made = past.prune(home, now_s=began_s + 60, keep=0, is_deleting=True)
    assert [one.reason for one in made.held] == ["it may be about to begin"]
    assert prune(home).gone[0].run_id == IDS[5]


def test_a_damaged_record_goes_like_any_other(home: Home) -> None:
    (home.path / "runs" / IDS[0] / "run.json").write_bytes(b"{")
    assert len(prune(home).gone) == 4


def test_what_cannot_be_deleted_is_said_and_the_others_go(home: Home) -> None:
    def delete(folder: Path) -> None:
        if folder.name == IDS[1]:
            raise PermissionError(13, "Permission denied")

    made = past.prune(home, now_s=NOW_S, keep=0, is_deleting=True, delete=delete)
    assert [one.run_id for one in made.gone] == [IDS[0], IDS[2], IDS[3]]
    assert made.held[0].reason == "it cannot be deleted: Permission denied"


def test_what_a_real_run_leaves_can_be_deleted(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\ngood\nbad\n")
    process(tmp_path / "in.csv", tmp_path)
    (folder,) = (tmp_path / "home" / "runs").iterdir()
    (folder / "staged").mkdir()  # what a killed run that proves something leaves
    made = past.prune(Home(tmp_path / "home"), now_s=NOW_S, keep=0, is_deleting=True)
    assert (len(made.gone), made.held) == (1, ())
    assert (tmp_path / "out.parquet").exists()
