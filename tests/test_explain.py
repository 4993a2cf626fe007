"""Where a review's answer came from, as a run, its archive and its ledger tell it afterwards."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from archived import context, opened, put
from conftest import Run
from fakes import PAID, FakeModel, make_job
from rich.console import Console

from reviewopt import config, explain, load, pipeline
from reviewopt.cache import shelf
from reviewopt.errors import InputError
from reviewopt.explain import Explained, Explanation
from reviewopt.load import ColumnChoice
from reviewopt.models.scripted import Scripted
from reviewopt.record import Run as Record
from reviewopt.render import explain as render
from reviewopt.runs import Home

KETTLE = "I bought this kettle for my mother last winter and she loves it, it boils quickly and looks great"
PACKED = {"pack.fixed": 500}


def label(folder: Path, rows: Sequence[dict[str, Any]], output: str = "out.parquet", **options: Any) -> Record:
    """Label rows of `id` and `text` with the fake model, or of what they hold."""
    source = folder / "in.parquet"
    pl.DataFrame(rows).write_parquet(source)
    task = options.get("task") or config.load_task("sentiment")
    options = {"clock": time.time, **options}
    with (
        load.open_table([str(source)], task=task, choice=options.pop("choice", ColumnChoice())) as table,
        make_job(table, folder, output=output, **options) as job,
    ):
        return pipeline.process(job, lambda *_: None)


def rows_of(*texts: str | None) -> list[dict[str, Any]]:
    """Rows whose ids are a, b, c, and so on."""
    return [{"id": chr(ord("a") + at), "text": text} for at, text in enumerate(texts)]


def explained(folder: Path, review_id: str, run: str | None = None, output: Path | None = None) -> Explanation:
    home = Home(folder / "home")
    record = home.find(run)
    if not shelf.exists(home.path):
        return explain.explain(record, review_id, home=home, archive=None, output=output)
    with opened(home.path) as archive:
        return explain.explain(record, review_id, home=home, archive=archive, output=output)


def row_of(folder: Path, review_id: str) -> Explained:
    (row,) = explained(folder, review_id).rows
    return row


def printed(explanation: Explanation) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    render.show_explanation(console, explanation)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_a_models_answer_names_the_request_that_it_was_in(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good", "broke at once"), settings=PACKED, **PAID)
    row = row_of(tmp_path, "b")
    (sent,) = row.requests
    assert (row.source, row.label, row.shared_from, row.stored) == ("gpt", "neutral", None, None)
    assert (sent.outcome, sent.is_answer, sent.n_reviews, sent.model) == ("answered", True, 2, "gpt")
    assert (sent.cost_usd.rstrip("0"), sent.share_usd) == ("0.001", row.cost_usd)
    others = row_of(tmp_path, "a").requests[0]
    assert Decimal(sent.share_usd) + Decimal(others.share_usd) == Decimal(sent.cost_usd)
    assert others.settled_at == sent.settled_at


def test_every_charged_attempt_is_told_and_only_the_last_brought_the_answer(tmp_path: Path) -> None:
    said = Scripted(lambda _: "positive", name="gpt", faults={1: "spoiled: cut short"})
    label(tmp_path, rows_of("good"), scripted=said, **PAID)
    sent = row_of(tmp_path, "a").requests
    assert [(one.outcome, one.is_answer) for one in sent] == [("spoiled", False), ("answered", True)]
    assert "asked in 2 requests" in printed(explained(tmp_path, "a"))


def test_reviews_with_one_id_and_different_texts_are_told_apart(tmp_path: Path) -> None:
    label(tmp_path, [{"id": "x", "text": "good"}, {"id": "x", "text": "it broke"}], **PAID)
    made = explained(tmp_path, "x")
    assert (made.n_rows, [len(row.requests) for row in made.rows]) == (2, [1, 1])
    assert [row.remarks for row in made.rows] == [(), ()]


def test_requests_of_one_id_that_cannot_be_told_apart_say_so(tmp_path: Path) -> None:
    rows = [{"id": "x", "text": "good"}, {"id": "x", "text": "it broke"}]
    label(tmp_path, rows, settings={"cache.archive.enabled": False}, **PAID)
    first, _ = explained(tmp_path, "x").rows
    assert len(first.requests) == 2
    assert "several different texts have this id" in first.remarks[0]


@pytest.mark.parametrize("output", ["out.parquet", "out.csv", "out.jsonl"])
def test_an_exact_copy_names_the_review_whose_answer_it_took(tmp_path: Path, output: str) -> None:
    label(tmp_path, rows_of("good", "it broke", "GOOD"), output, **PAID)
    row = row_of(tmp_path, "c")
    assert (row.source, row.cost_usd, row.duplicate_of, row.similarity) == ("exact", "0.000000000000", "a", 100)
    taken = row.shared_from
    assert taken is not None
    assert (taken.row, taken.review_id, taken.text, taken.source, taken.label) == (0, "a", "good", "gpt", row.label)
    assert len(taken.requests) == 1


def test_an_exact_copy_of_a_near_copy_names_both(tmp_path: Path) -> None:
    label(tmp_path, rows_of(KETTLE, KETTLE + "!!", KETTLE + "!!"), **PAID)
    row = row_of(tmp_path, "c")
    assert (row.source, row.duplicate_of) == ("exact", "a")
    near = row.shared_from
    assert near is not None
    assert (near.review_id, near.source) == ("b", "near")
    assert near.similarity is not None
    assert 90 < near.similarity < 100
    leader = near.shared_from
    assert leader is not None
    assert (leader.review_id, leader.source, leader.label) == ("a", "gpt", row.label)


def test_a_near_copy_names_its_leader_and_not_the_first_of_its_group(tmp_path: Path) -> None:
    """The first review of the group has another number in it: it is near, but shares with nobody."""
    other, mine = KETTLE + " for 15 dollars", KETTLE + " for 25 dollars"
    label(tmp_path, rows_of(other, mine, mine + "!"), **PAID)
    row = row_of(tmp_path, "c")
    assert (row.source, row.duplicate_of) == ("near", "a")
    assert row.shared_from is not None
    assert row.shared_from.review_id == "b"


def test_a_near_copy_that_is_only_reported_has_an_answer_of_its_own(tmp_path: Path) -> None:
    label(tmp_path, rows_of(KETTLE, KETTLE + "!!"))
    row = row_of(tmp_path, "b")
    assert (row.source, row.duplicate_of, row.shared_from, row.requests) == ("local", "a", None, ())
    assert "but has an answer of its own" in printed(explained(tmp_path, "b"))


def test_a_hit_names_the_stored_answer_and_who_asked_first(tmp_path: Path) -> None:
    first = label(tmp_path, rows_of("good", "It  Broke"), **PAID)
    label(tmp_path, [{"id": "later", "text": "it broke"}], **PAID)
    row = row_of(tmp_path, "later")
    assert row.source in {"l2", "l3"}
    assert row.stored is not None
    assert (row.stored.source, row.stored.model, row.stored.review_id) == ("model", "gpt", "b")
    assert (row.stored.text, row.stored.is_same_text, row.stored.similarity) == ("it broke", True, 100)
    assert (row.stored.cost_usd.rstrip("0"), row.stored.run_id) == ("0.001", first.run_id)
    assert row.requests == ()


def test_a_similar_hit_shows_the_other_text_and_how_similar_it_is(tmp_path: Path) -> None:
    label(tmp_path, rows_of(KETTLE), **PAID)
    label(tmp_path, [{"id": "later", "text": KETTLE + "!!"}], **PAID)
    row = row_of(tmp_path, "later")
    assert row.stored is not None
    assert (row.stored.is_same_text, row.stored.text, row.stored.review_id) == (False, KETTLE.lower(), "a")
    assert 90 < row.stored.similarity < 100
    assert "a similar text, similarity" in printed(explained(tmp_path, "later"))


def test_what_history_said_goes_before_a_models_newer_answer_that_is_the_same(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good"), **PAID)
    with opened(tmp_path / "home") as archive:
        put(archive, ["good"], context("warm"), answer="neutral", confidence=None, review_id="history")
    label(tmp_path, [{"id": "later", "text": "good"}], **PAID)
    row = row_of(tmp_path, "later")
    assert row.stored is not None
    assert (row.label, row.stored.source, row.stored.review_id) == ("neutral", "warm", "history")


def test_a_stored_answer_that_says_something_else_is_not_the_one_that_was_used(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good"), **PAID)
    label(tmp_path, [{"id": "later", "text": "good"}], **PAID)
    with opened(tmp_path / "home") as archive:
        put(archive, ["good"], context("warm"), answer="positive", confidence=None, review_id="history")
    row = row_of(tmp_path, "later")
    assert row.stored is not None
    assert (row.label, row.stored.source) == ("neutral", "model")


def test_an_answer_that_was_replaced_since_is_not_taken_for_the_one_that_was_used(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good"), **PAID)
    label(tmp_path, [{"id": "later", "text": "good"}], **PAID)
    with opened(tmp_path / "home") as archive:
        (held,) = archive.scan()
        newer = held.drop("rowid").with_columns(created_s=pl.lit(int(time.time()) + 1000, pl.Int64))
        archive.put(newer, archive.contexts())
    row = row_of(tmp_path, "later")
    assert row.stored is None
    assert "replaced by a newer one" in row.remarks[0]


def test_what_history_said_is_named_as_such_also_for_the_local_model(inside: Run, tmp_path: Path) -> None:
    (tmp_path / "known.csv").write_text("text,stars\nI love it,5\n")
    (tmp_path / "new.csv").write_text("id,text\n7,I LOVE it\n8,never seen\n")
    for arguments in (["cache", "warm", "known.csv"], ["process", "new.csv"]):
        assert inside(*arguments, "-q").returncode == 0
    made = json.loads(inside("explain", "7", "--json").stdout)
    stored = made["rows"][0]["stored"]
    assert (stored["source"], stored["model"], stored["text"]) == ("warm", None, "i love it")
    shown = inside("explain", "8")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "source: local: the model sentiment in this process" in shown.stdout


def test_a_cleared_archive_is_told(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good"), **PAID)
    label(tmp_path, rows_of("good"), **PAID)
    with opened(tmp_path / "home") as archive:
        archive.clear()
    row = row_of(tmp_path, "a")
    assert row.stored is None
    assert "does not hold this answer any more" in row.remarks[0]
    shutil.rmtree(tmp_path / "home" / "cache")
    assert "there is no archive in" in row_of(tmp_path, "a").remarks[0]


def test_a_ledger_that_is_gone_is_told(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good"), **PAID)
    shutil.rmtree(tmp_path / "home" / "spend")
    row = row_of(tmp_path, "a")
    assert row.requests == ()
    assert "knows no request for it" in row.remarks[0]


def test_isolated_tenants_see_their_own_stored_answer(tmp_path: Path) -> None:
    rows = [{"id": f"{name}1", "text": "good", "tenant": name} for name in ("x", "y")]
    label(tmp_path, rows, isolated=True, **PAID)
    label(tmp_path, [{**row, "id": f"{row['tenant']}2"} for row in rows], isolated=True, **PAID)
    askers = [row_of(tmp_path, f"{name}2").stored for name in ("x", "y")]
    assert [one.review_id for one in askers if one is not None] == ["x1", "y1"]


def test_a_review_that_failed_says_why_how_often_it_was_tried_and_what_to_do(tmp_path: Path) -> None:
    said = Scripted({"good": "positive"}, name="gpt")
    label(tmp_path, rows_of("good", "a strange one", "a STRANGE one"), scripted=said, **PAID)
    row = row_of(tmp_path, "b")
    assert (row.source, row.label) == ("failed", None)
    assert row.failure is not None
    assert (row.failure.was_asked, row.failure.is_of_text, row.failure.n_tries) == (True, True, 4)
    assert row.failure.reason == row.note
    assert "--retry-failures" in row.failure.advice
    assert [(one.outcome, one.is_answer) for one in row.requests] == [("answered", False)] * 4
    copy = row_of(tmp_path, "c")
    assert copy.shared_from is not None
    assert (copy.shared_from.review_id, copy.failure, copy.requests) == ("b", row.failure, ())
    assert "what to do:" in printed(explained(tmp_path, "c"))


def test_a_near_copy_of_a_review_that_failed_names_that_one_and_so_does_its_own_copy(tmp_path: Path) -> None:
    label(tmp_path, rows_of(KETTLE, KETTLE + "!!", KETTLE + "!!"), scripted=Scripted({}, name="gpt"), **PAID)
    asked = row_of(tmp_path, "a").failure
    near, copy = row_of(tmp_path, "b"), row_of(tmp_path, "c")
    assert near.shared_from is not None
    assert copy.shared_from is not None
    assert (near.shared_from.review_id, near.failure) == ("a", asked)
    assert (copy.shared_from.review_id, copy.failure) == ("b", asked)
    assert asked is not None
    assert asked.was_asked


def test_a_review_that_failed_by_itself_names_no_near_copy_that_has_an_answer(tmp_path: Path) -> None:
    """A near copy of a text that has a similar text's answer is asked itself."""
    near, mine = KETTLE + "!!", KETTLE + "!! and so on"
    label(tmp_path, rows_of(KETTLE), **PAID)
    strict = {"cache.similar.threshold": 98, "dedup.threshold": 85}
    label(tmp_path, rows_of(near, mine), scripted=Scripted({}, name="gpt"), settings=strict, **PAID)
    row = row_of(tmp_path, "b")
    assert (row_of(tmp_path, "a").source, row.source, row.duplicate_of) == ("l2", "failed", "a")
    assert (row.shared_from, len(row.requests)) == (None, 4)


def test_failures_of_one_id_are_told_apart_by_their_reasons(tmp_path: Path) -> None:
    said = Scripted({}, name="gpt", faults=lambda _, request: "refused" if b"bad" in request.body else None)
    label(tmp_path, [{"id": "x", "text": text} for text in ("bad", "strange")], scripted=said, **PAID)
    reasons = [(row.note, row.failure.reason) for row in explained(tmp_path, "x").rows if row.failure is not None]
    assert [note for note, _ in reasons] == [reason for _, reason in reasons]
    assert len(set(reasons)) == 2


def test_a_review_that_was_left_alone_says_that_it_failed_before(tmp_path: Path) -> None:
    for _ in range(2):
        label(tmp_path, rows_of("good", "a strange one"), scripted=Scripted({"good": "positive"}, name="gpt"), **PAID)
    failure = row_of(tmp_path, "b").failure
    assert failure is not None
    assert (failure.was_asked, failure.n_tries) == (False, None)
    assert "--retry-failures" in failure.advice
    assert "in an earlier run; this run left it alone" in printed(explained(tmp_path, "b"))


def test_a_review_that_a_budget_stopped_is_not_its_own_fault(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good"), settings={"budget.usd": 0.0001}, **PAID)
    failure = row_of(tmp_path, "a").failure
    assert failure is not None
    assert (failure.was_asked, failure.is_of_text) == (True, False)
    assert failure.advice.startswith("raise the budget")


def test_an_empty_review_has_nothing_to_explain(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good", " "), **PAID)
    row = row_of(tmp_path, "b")
    assert (row.source, row.label, row.requests, row.remarks) == ("empty", None, (), ())


def test_a_review_without_an_id_is_called_by_its_row(tmp_path: Path) -> None:
    label(tmp_path, [{"text": "good"}, {"text": "it broke"}])
    assert (row_of(tmp_path, "1").row, row_of(tmp_path, "1").text) == (1, "it broke")
    with pytest.raises(InputError, match="no id column, so a review's id is its row: 0 to 1"):
        explained(tmp_path, "2")
    label(tmp_path, [{"id": 7.0, "text": "good"}, {"id": None, "text": "it broke"}])
    assert (row_of(tmp_path, "7").row, row_of(tmp_path, "1").row) == (0, 1)


@pytest.mark.parametrize("output", ["out.parquet", "out.csv", "out.jsonl"])
def test_many_rows_with_one_id_show_the_first_ten(tmp_path: Path, output: str) -> None:
    label(tmp_path, [{"id": "x", "text": f"review {at}"} for at in range(12)], output)
    made = explained(tmp_path, "x")
    assert (made.n_rows, [row.row for row in made.rows]) == (12, list(range(10)))
    assert "12 rows have the id x, the first 10 of them here" in printed(made)


@pytest.mark.parametrize("output", ["out.parquet", "out.csv", "out.jsonl"])
def test_every_format_gives_the_same_explanation(tmp_path: Path, output: str) -> None:
    """A spreadsheet would run some of these cells, so the CSV file holds them with an apostrophe."""
    rows = [("-a", "=good"), ("07", None), ("c", "=GOOD")]
    label(tmp_path, [{"id": name, "=text": text} for name, text in rows], output, choice=ColumnChoice(text="=text"))
    row = row_of(tmp_path, "-a")
    assert (row.row, row.text, row.source, row.confidence) == (0, "=good", "local", 0.7142857)
    assert row_of(tmp_path, "07").source == "empty"
    copy = row_of(tmp_path, "c")
    assert copy.shared_from is not None
    assert copy.shared_from == row


def test_the_other_fields_of_a_task_are_told(tmp_path: Path) -> None:
    task = config.load_task("review")
    others = {field.name: field.labels[0] if hasattr(field, "labels") else "short" for field in task.others}
    answer = {task.field.name: "positive", **others}
    label(tmp_path, rows_of("good"), task=task, scripted=Scripted(lambda _: answer, name="gpt"), **PAID)
    row = row_of(tmp_path, "a")
    assert (row.label, list(row.others)) == ("positive", list(others))
    assert row.others[next(iter(others))] is not None


def test_an_unknown_review_names_the_column_of_the_ids(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good"))
    with pytest.raises(InputError, match=r"there is no review z in .* its ids are in the column id"):
        explained(tmp_path, "z")


def test_a_run_that_broke_has_no_table_to_explain(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        label(tmp_path, rows_of("good"), model=FakeModel(fail_after=0, error=KeyboardInterrupt()))
    with pytest.raises(InputError, match="was interrupted after 0 reviews and has no labelled table"):
        explained(tmp_path, "a")


def test_a_table_that_was_moved_is_found_by_its_new_name(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good"))
    moved = (tmp_path / "out.parquet").rename(tmp_path / "moved.parquet")
    with pytest.raises(InputError, match="--output FILE"):
        explained(tmp_path, "a")
    assert explained(tmp_path, "a", output=moved).rows[0].text == "good"


def test_a_table_that_a_later_run_wrote_is_not_explained_as_the_earlier_runs(tmp_path: Path) -> None:
    first = label(tmp_path, rows_of("good"), **PAID)
    shutil.copy(tmp_path / "out.parquet", tmp_path / "kept.parquet")
    second = label(tmp_path, rows_of("good"), **PAID)
    with pytest.raises(InputError, match=f"written again by the later run {second.run_id}"):
        explained(tmp_path, "a", first.run_id)
    assert explained(tmp_path, "a", first.run_id, tmp_path / "kept.parquet").rows[0].source == "gpt"
    with pytest.raises(InputError, match=r"the sources in .* are not those that the run"):
        explained(tmp_path, "a", first.run_id, tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pl.DataFrame({"id": ["a"], "text": ["good"]}), "has no column sentiment"),
        (None, "not a labelled table; those end in"),
    ],
)
def test_a_table_that_is_not_the_runs_is_refused(tmp_path: Path, table: pl.DataFrame | None, words: str) -> None:
    label(tmp_path, rows_of("good"))
    other = tmp_path / ("other.parquet" if table is not None else "other.xlsx")
    if table is not None:
        table.write_parquet(other)
    with pytest.raises(InputError, match=words):
        explained(tmp_path, "a", output=other)


def test_a_table_with_other_rows_or_no_table_at_all_is_refused(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good", "it broke"))
    pl.read_parquet(tmp_path / "out.parquet").head(1).write_parquet(tmp_path / "head.parquet")
    with pytest.raises(InputError, match=r"has 1 rows and the run .* wrote 2"):
        explained(tmp_path, "a", output=tmp_path / "head.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="it is damaged, or not a labelled table"):
        explained(tmp_path, "a", output=tmp_path / "broken.parquet")


def test_a_run_to_standard_output_asks_for_the_file(inside: Run, tmp_path: Path) -> None:
    (tmp_path / "kept.jsonl").write_text(inside("process", "-", "-o", "-", stdin="id,text\n7,good\n").stdout)
    failed = inside("explain", "7")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "wrote to standard output; name the file that it went to with --output FILE" in failed.stderr
    assert "review 7 (row 0)" in inside("explain", "7", "--output", "kept.jsonl").stdout


def test_a_run_named_by_its_folder_is_explained_from_its_own_home(tmp_path: Path) -> None:
    run = label(tmp_path, rows_of("good"))
    record = tmp_path / "home" / "runs" / run.run_id / "run.json"
    assert explain.home_of(record, Home(tmp_path / "other")).path == tmp_path / "home"
    copied = Path(shutil.copy(record, tmp_path / "run.json"))
    assert explain.home_of(copied, Home(tmp_path / "other")).path == tmp_path / "other"


def test_foreign_text_is_neither_markup_nor_escape_codes(tmp_path: Path) -> None:
    name = "[red]a\x1b[31m"
    label(
        tmp_path,
        [{"id": name, "text": "[bold]good\x1b]0;title\x07"}, {"id": "b", "text": " [BOLD]good\x1b]0;title\x07"}],
    )
    for review_id in (name, "b"):
        shown = printed(explained(tmp_path, review_id))
        assert "\x1b" not in shown
        assert "[red]a?[31m" in shown
        assert "[bold]good?]0;title?" in shown


def test_the_json_has_every_key_and_begins_with_the_version(tmp_path: Path) -> None:
    label(tmp_path, rows_of("good", "GOOD"), **PAID)
    made = json.loads(msgspec.json.encode(explained(tmp_path, "b")))
    assert next(iter(made)) == "schema_version"
    (row,) = made["rows"]
    assert list(row) == list(Explained.__struct_fields__) == list(row["shared_from"])
    assert (row["failure"], row["stored"], row["requests"], row["shared_from"]["shared_from"]) == (None, None, [], None)


@pytest.mark.parametrize(
    ("source", "reference", "says"),
    [
        ("human", "human", "human: a person said so"),
        ("reference", "column:rating", "reference: the label of column:rating"),
        ("reference", "strong", "reference: the own answer of strong, the reference, to this review alone"),
    ],
)
def test_an_answer_of_a_certificates_reference_names_who_gave_it(
    tmp_path: Path, source: str, reference: str, says: str
) -> None:
    label(tmp_path, rows_of("The lamp works."))
    whole = explained(tmp_path, "a")
    row = msgspec.structs.replace(whole.rows[0], source=source)
    whole = msgspec.structs.replace(whole, rows=(row,), models={"reference": reference})
    assert f"source: {says}" in printed(whole)
