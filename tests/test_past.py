"""The records of a home as a list, as series and two by two."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import IDS, entry, example, keep

from reviewopt import past, runs
from reviewopt.accuracy import Estimate, wilson
from reviewopt.budget import Purse, Reservation, Wanted
from reviewopt.errors import InputError, UsageError
from reviewopt.past import pairs, reading, values
from reviewopt.past.values import RunList
from reviewopt.record import SCHEMA_VERSION, Run
from reviewopt.runs import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def listed(*newest_first: past.Entry, **changes: Any) -> RunList:
    usual = RunList(schema_version=1, n_kept=len(newest_first), is_cut=False, runs=newest_first, unread=(), notes=())
    return msgspec.structs.replace(usual, **changes)


def test_runs_are_listed_the_newest_first_with_exact_figures(home: Home) -> None:
    keep(home, IDS[1], n_rows=8)
    keep(home, IDS[0])
    made = past.list_runs(home)
    assert [one.run_id for one in made.runs] == [IDS[1], IDS[0]]
    one = made.runs[1]
    assert (one.state, one.task, one.inputs, one.n_rows) == ("done", "sentiment", ("shop/in.csv",), 6)
    assert (one.usd, one.models_usd, one.machine_usd) == ("0.000041666667", "0", "0.000041666667")
    assert Decimal(one.usd_per_1000 or 0) == round(1000 * Decimal(one.usd) / 6, 12)
    assert one.accuracy == example().accuracy.overall.accuracy  # type: ignore[union-attr]
    assert (one.is_certified, one.hit_rate, one.n_labelled) == (None, None, 5)
    assert (made.n_kept, made.is_cut, made.unread) == (2, False, ())


def test_a_folder_that_is_not_named_as_a_run_is_not_listed(home: Home) -> None:
    keep(home, IDS[0])
    keep(home, "mine")
    made = past.list_runs(home)
    assert (made.n_kept, len(made.runs), made.unread) == (1, 1, ())


def test_a_home_without_runs_has_an_empty_list(home: Home) -> None:
    assert past.list_runs(home).runs == ()


def test_what_is_read_of_a_record_is_in_every_record_with_the_same_meaning() -> None:
    """The list decodes a part of the record: a field that is renamed there must be renamed here."""
    whole = {field.name: field.type for field in msgspec.structs.fields(Run)}
    for field in msgspec.structs.fields(reading.Brief):
        assert field.name in whole
        if field.name not in {"asked", "ladder", "accuracy", "certificate"}:  # read in part
            assert field.type == whole[field.name]
    assert msgspec.json.decode(msgspec.json.encode(example()), type=reading.Brief).status == "done"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged"),
        (b'{"schema_version": 5, "status": "do', "damaged"),
        (b"\xff\xfe", "damaged"),
        (b'{"schema_version": 99}', "of version 99; this reviewopt reads"),
        (None, "no record: it ended, or was killed, before its first row"),
    ],
    ids=["empty", "cut", "bytes", "newer", "none"],
)
def test_a_record_that_cannot_be_read_is_listed_with_its_reason(home: Home, content: bytes | None, reason: str) -> None:
    keep(home, IDS[0])
    record = keep(home, IDS[1]) / "run.json"
    record.unlink() if content is None else record.write_bytes(content)
    made = past.list_runs(home)
    assert [one.run_id for one in made.runs] == [IDS[0]]
    assert [one.run_id for one in made.unread] == [IDS[1]]
    assert reason in made.unread[0].reason
    with pytest.raises(InputError, match=IDS[1]):
        past.read(home, IDS[1])


def test_a_record_of_another_version_that_looks_like_ours_is_not_read(home: Home) -> None:
    keep(home, schema_version=SCHEMA_VERSION + 1)
    assert f"of version {SCHEMA_VERSION + 1}" in past.list_runs(home).unread[0].reason


@pytest.mark.parametrize("amount", ["a lot", "NaN", "Infinity"])
def test_an_amount_that_is_no_number_is_damage_and_no_bug(home: Home, amount: str) -> None:
    keep(home, cost=msgspec.structs.replace(example().cost, machine_usd=amount))
    assert "an amount is no number" in past.list_runs(home).unread[0].reason


def test_a_run_whose_process_is_gone_was_killed_and_says_what_it_did(home: Home) -> None:
    folder = keep(home, status="unfinished", finished_at=None, n_rows=4)
    (one,) = past.list_runs(home).runs
    assert (one.state, one.n_rows, one.seconds) == ("killed", 4, 1.5)
    living = runs.Recorder(folder)
    assert past.list_runs(home).runs[0].state == "running"
    living.close()


def test_a_run_that_ended_while_it_was_read_was_not_killed(home: Home) -> None:
    keep(home, status="unfinished", finished_at=None)

    def ends(record: Path) -> bool:
        record.write_bytes(msgspec.json.encode(example()))
        return False

    assert past.read(home, IDS[0], is_alive=ends).state == "done"


def test_what_a_killed_run_was_charged_is_what_the_ledger_knows(home: Home) -> None:
    keep(home, IDS[0], status="unfinished", finished_at=None)
    keep(home, IDS[1])
    for run_id in IDS[:2]:
        with Purse(home.path / "spend", run_id=run_id, model="m", endpoint="e", run_usd=Decimal(9)) as purse:
            (made,) = purse.reserve([Wanted(most_usd=Decimal("0.5"), n_reviews=1)])
            assert isinstance(made, Reservation)
    done, killed = past.list_runs(home).runs
    assert (killed.usd_from, killed.models_usd) == ("ledger", "0.500000000000")
    assert (done.usd_from, done.models_usd) == ("record", "0")


def test_a_damaged_ledger_is_a_note_and_the_record_counts(home: Home) -> None:
    keep(home, status="unfinished", finished_at=None)
    (home.path / "spend").mkdir()
    (home.path / "spend" / "spend.db").write_bytes(b"no database" * 100)
    made = past.list_runs(home)
    assert (made.runs[0].usd_from, made.runs[0].usd) == ("record", "0.000041666667")
    assert "known from their records alone" in made.notes[0]


def test_a_limit_counts_what_is_listed_and_says_that_older_ones_were_not_looked_at(home: Home) -> None:
    for at, run_id in enumerate(IDS[:4]):
        keep(home, run_id, task="category" if at % 2 else "sentiment")
    made = past.list_runs(home, limit=1, task="sentiment")
    assert [one.run_id for one in made.runs] == [IDS[2]]
    assert made.is_cut
    assert not past.list_runs(home, limit=4).is_cut
    assert past.list_runs(home, state="failed").runs == ()


def test_a_filter_leaves_out_what_cannot_be_read(home: Home) -> None:
    (keep(home) / "run.json").write_bytes(b"{")
    assert past.list_runs(home, task="sentiment").unread == ()
    assert past.list_runs(home, state="done").unread == ()
    assert len(past.list_runs(home).unread) == 1


@pytest.mark.parametrize(
    ("name", "found"), [("latest", IDS[2]), ("previous", IDS[1]), ("20260101", IDS[0]), (IDS[1], IDS[1])]
)
def test_a_run_is_found_by_id_by_the_start_of_it_or_by_its_place(home: Home, name: str, found: str) -> None:
    for run_id in IDS[:3]:
        keep(home, run_id)
    assert past.find(home, name) == found


def test_a_name_that_means_no_run_or_several_is_an_error_that_helps(home: Home) -> None:
    with pytest.raises(InputError, match="make one: reviewopt process TABLE"):
        past.find(home, "latest")
    keep(home, IDS[0])
    with pytest.raises(InputError, match="only one run"):
        past.find(home, "previous")
    keep(home, IDS[1])
    with pytest.raises(UsageError, match="the start of 2 runs"):
        past.find(home, "202601")
    with pytest.raises(InputError, match=f"did you mean {IDS[1]}"):
        past.find(home, "20260102-030405-000009")
    with pytest.raises(InputError, match="did you mean latest"):
        past.find(home, "lates")
    with pytest.raises(InputError, match="there is no run"):
        past.find(home, "")


def test_series_are_oldest_first_with_change_and_distance_to_the_median_before() -> None:
    newest_first = [entry(IDS[at], hit_rate=rate, usd_per_1000=usd) for at, rate, usd in
                    ((3, 0.5, "0.4"), (2, None, "0.1"), (1, 0.3, "0.2"), (0, 0.1, "0.3"))]  # fmt: skip
    made = past.trends(listed(*newest_first))
    assert [one.run_id for one in made.runs] == list(IDS[:4])
    cost, hits = made.series[:2]
    assert cost.values == ("0.300000000000", "0.200000000000", "0.100000000000", "0.400000000000")
    assert (cost.change, cost.median_before, cost.against_median) == (
        "0.100000000000", "0.200000000000", "0.200000000000",
    )  # fmt: skip
    assert hits.values == (0.1, 0.3, None, 0.5)
    assert (hits.first, hits.latest, hits.median_before) == (0.1, 0.5, 0.2)
    assert hits.change == pytest.approx(0.4)
    assert hits.against_median == pytest.approx(0.3)


def test_a_figure_that_the_latest_run_did_not_measure_has_no_change() -> None:
    made = past.trends(listed(entry(IDS[1], hit_rate=None), entry(IDS[0], hit_rate=0.3)))
    hits = made.series[1]
    assert (hits.first, hits.latest, hits.change, hits.against_median) == (0.3, None, None, None)


def test_trends_follow_the_latest_runs_task_and_leave_out_what_is_not_done() -> None:
    newest_first = [
        entry(IDS[4], state="killed"),
        entry(IDS[3]),
        entry(IDS[2], task="category"),
        entry(IDS[1]),
        entry(IDS[0]),
    ]
    made = past.trends(listed(*newest_first), limit=2)
    assert [one.run_id for one in made.runs] == [IDS[1], IDS[3]]
    assert (made.task, made.n_left_out, made.is_cut) == ("sentiment", 1, True)
    assert past.trends(listed(*newest_first), task="category").runs[0].run_id == IDS[2]


def test_trends_are_of_one_table_or_model_where_that_is_wanted() -> None:
    other = entry(IDS[1], inputs=("other.csv",), models=("gpt",), is_simulated=True)
    both = listed(other, entry(IDS[0]))
    notes = past.trends(both).notes
    assert [word for word in ("tables", "models", "simulated") if any(word in note for note in notes)] == [
        "tables", "models", "simulated",
    ]  # fmt: skip
    for filters in ({"table": "reviews.parquet"}, {"table": "shop/reviews.parquet"}, {"model": "gpt-mini"}):
        made = past.trends(both, **filters)  # type: ignore[arg-type]
        assert [one.run_id for one in made.runs] == [IDS[0]]
        assert made.notes == ()


@pytest.mark.parametrize(
    ("filters", "hint"),
    [
        ({"table": "reviews.parqet"}, "did you mean reviews.parquet?"),
        ({"model": "gpt-mimi"}, "did you mean gpt-mini?"),
        ({"task": "sentimen"}, "did you mean sentiment?"),
        ({"model": "zzz"}, "there are: gpt-mini, local"),
    ],
    ids=["table", "model", "task", "none near"],
)
def test_a_filter_that_leaves_no_run_names_the_nearest(filters: dict[str, str], hint: str) -> None:
    with pytest.raises(InputError) as raised:
        past.trends(listed(entry()), **filters)  # type: ignore[arg-type]
    assert hint in str(raised.value)


def test_without_a_run_that_is_done_there_is_nothing_to_follow() -> None:
    for newest_first in ((), (entry(state="killed"),)):
        with pytest.raises(InputError, match="no run is done yet"):
            past.trends(listed(*newest_first))


def test_a_comparison_has_what_b_has_more() -> None:
    b = entry(IDS[1], usd="1.000000", usd_per_1000="0.001", hit_rate=0.5, n_failed=0, accuracy_low=0.95, seconds=500.0)
    made = past.compare(entry(accuracy_low=0.9), b)
    assert (made.change.usd, made.change.n_failed, made.change.hit_rate) == ("-0.234567", -3, 0.25)
    assert (made.change.usd_per_1000, made.change.seconds) == ("-0.000234567000", -100.0)
    assert made.change.accuracy_low == pytest.approx(0.05)
    assert made.is_same_table is True
    assert past.compare(entry(), entry(IDS[1], fingerprint="e" * 64)).is_same_table is False
    assert past.compare(entry(), entry(IDS[1], fingerprint=None)).is_same_table is None


def test_what_one_run_did_not_measure_has_no_difference() -> None:
    made = past.compare(entry(accuracy=None, hit_rate=None, usd_per_1000=None), entry(IDS[1]))
    assert (made.change.accuracy, made.change.hit_rate, made.change.usd_per_1000) == (None, None, None)


def test_the_difference_of_accuracies_has_newcombes_interval() -> None:
    """Newcombe 1998, Statistics in Medicine 17:873, table II, method 10: 56/70 - 48/80."""
    found = pairs.difference(wilson(56, 70), wilson(48, 80))
    assert found is not None
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.0524, abs=5e-5)
    assert found.high == pytest.approx(0.3339, abs=5e-5)
    assert pairs.difference(Estimate(value=None, low=None, high=None), wilson(1, 2)) is None


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50), st.integers(1, 50))
def test_the_difference_lies_in_its_interval_and_turns_its_sign_with_the_runs(a: int, m: int, b: int, n: int) -> None:
    one, other = wilson(min(a, m), m), wilson(min(b, n), n)
    there, back = pairs.difference(one, other), pairs.difference(other, one)
    assert there is not None
    assert back is not None
    assert -1 <= there.low <= there.value + 1e-12 <= there.high + 2e-12 <= 1 + 2e-12  # type: ignore[operator]
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))  # type: ignore[operator]


def test_a_comparison_says_what_its_figures_cannot_tell() -> None:
    a = entry(state="killed", is_simulated=True, reference="gpt", accuracy_low=0.9)
    b = entry(IDS[1], task="category", reference="human", accuracy_low=0.9)
    said = " | ".join(past.compare(a, b).notes)
    for part in ("different tasks", "A is killed", "A is simulated", "different references"):
        assert part in said
    assert past.compare(entry(), entry(IDS[1], output="it's.parquet")).notes == (
        """row by row, and sharper: reviewopt compare out.parquet 'it'"'"'s.parquet'""",
    )
    assert past.compare(entry(), entry()).notes == ("A and B are the same run",)


@pytest.mark.parametrize(
    "made",
    [listed(entry(accuracy=None)), past.trends(listed(entry())), past.compare(entry(), entry(IDS[1]))],
    ids=["list", "trends", "comparison"],
)
def test_json_has_every_key_and_the_version_first(made: msgspec.Struct) -> None:
    schema = msgspec.json.schema(type(made))["$defs"]
    for definition in schema.values():
        assert definition["required"] == list(definition["properties"])
    assert next(iter(msgspec.to_builtins(made))) == "schema_version"
    assert values.SCHEMA_VERSION == 1
