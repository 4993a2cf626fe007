"""A certificate of labels that somebody made: true of them, of no other ones, and no easier to get by trying again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from fakes import LABELS
from scipy.stats import binom

from reviewopt import certify, config, draws, freezing, human, load
from reviewopt.certificate import Certificate
from reviewopt.cli import certifying
from reviewopt.cli.opening_labels import Choices
from reviewopt.errors import InputError, UsageError
from reviewopt.runs import Home

N = 400
Flags = npt.NDArray[np.bool_]


def table(path: Path, wrong: Flags, *, seed: int = 0, **columns: list[Any]) -> pl.DataFrame:
    """A table whose labels `said` differ from its `stars` where they are `wrong`."""
    truth = np.random.default_rng(seed).integers(0, 3, len(wrong))
    said = np.where(wrong, (truth + 1) % 3, truth)
    made = pl.DataFrame(
        {
            "text": [f"review number {at} of {seed}" for at in range(len(wrong))],
            "said": [LABELS[code] for code in said.tolist()],
            "stars": [LABELS[code] for code in truth.tolist()],
            **columns,
        }
    )
    save(path, made)
    return made


def save(path: Path, made: pl.DataFrame) -> None:
    if path.suffix == ".csv":
        made.write_csv(path)
    else:
        made.write_parquet(path)


def certified(
    path: Path,
    *,
    reference: str = "column:stars",
    target: float = 0.9,
    audit: int = 200,
    answer_column: str | None = "said",
    reviewed: Path | None = None,
    settings: dict[str, Any] | None = None,
) -> Certificate:
    """Certify a table in this process, with a home beside it."""
    flags: dict[str, Any] = {
        "certificate.reference": reference,
        "certificate.target": target,
        "certificate.audit": audit,
    }
    merged, origins = config.load({**flags, **(settings or {})}, environment={})
    choices = Choices(
        tables=(str(path),), answer_column=answer_column, reviewed=None if reviewed is None else str(reviewed),
        home=Home(path.parent / "home"), dry_run=False, yes=True, quiet=True,
    )  # fmt: skip
    made = certifying.run(choices, merged, origins, config.load_task("sentiment"))
    assert isinstance(made, Certificate)
    return made


def some(n_wrong: int, n: int = N, seed: int = 0) -> Flags:
    flags = np.zeros(n, np.bool_)
    flags[np.random.default_rng(seed).permutation(n)[:n_wrong]] = True
    return flags


def drawn_rows(path: Path, found: Certificate) -> npt.NDArray[np.int64]:
    """The rows that a certificate looked at."""
    with load.open_table([str(path)], task=config.load_task("sentiment")) as opened:
        rows: npt.NDArray[np.int64] = draws.draw(opened, int(found.seed, 16), found.n_audit).frame["row"].to_numpy()
        return rows


# --- it is true -------------------------------------------------------------------------------------------------------


def test_labels_that_are_just_too_wrong_are_certified_no_more_often_than_delta_allows(tmp_path: Path) -> None:
    n_tables, delta, n_met = 80, 0.05, 0
    for seed in range(n_tables):
        path = tmp_path / f"{seed}.parquet"
        table(path, some(41, seed=seed), seed=seed)
        n_met += certified(path, audit=120).is_met
    assert n_met <= binom.ppf(0.999, n_tables, delta)


def test_good_labels_are_certified_and_the_bound_is_below_the_truth(tmp_path: Path) -> None:
    table(tmp_path / "in.parquet", some(8))
    found = certified(tmp_path / "in.parquet")
    assert found.is_met
    assert found.method == "audit"
    assert found.reason == ""
    assert found.accuracy_low is not None
    assert 0.9 <= found.accuracy_low <= 0.98
    assert (found.n_rows, found.n_audit, found.n_train, found.n_cal) == (N, 200, 0, 0)
    assert found.n_reference_rows == 0
    assert found.n_reference_saved == N - 200


def test_nothing_of_the_table_changes(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    table(path, some(8))
    before = path.read_bytes()
    certified(path)
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["home", "in.parquet"]
    assert not (tmp_path / "home" / "runs").exists()


@pytest.mark.parametrize(("n_wrong", "is_met"), [(40, True), (41, False)])
def test_a_complete_column_is_compared_row_by_row_and_leaves_nothing_to_chance(
    tmp_path: Path, n_wrong: int, is_met: bool
) -> None:
    path = tmp_path / "in.parquet"
    table(path, some(n_wrong), category=["a" if row % 2 else "b" for row in range(N)])
    for target in (0.95, 0.9):
        found = certified(path, audit=0, target=target, settings={"certificate.per": "category"})
        assert found.accuracy_low == found.accuracy_seen == pytest.approx(1 - n_wrong / N)
        assert (found.n_audit, found.n_errors, found.attempt) == (N, n_wrong, 1)
    assert found.is_met == is_met
    assert [one.passes for one in found.audits] == [is_met]
    assert sum(one.n_errors for one in found.slices) == n_wrong
    assert {one.n_rows for one in found.slices} == {N // 2}
    for one in found.slices:
        assert one.state == ("certified" if one.n_errors <= 20 else "not met")


def test_the_bound_is_never_above_what_the_sample_shows(tmp_path: Path) -> None:
    for seed in range(20):
        path = tmp_path / f"{seed}.parquet"
        table(path, some(200, seed=seed), seed=seed)
        found = certified(path, audit=390, target=0.5)
        assert found.accuracy_low is not None
        assert found.accuracy_seen is not None
        assert found.accuracy_low <= found.accuracy_seen


# --- what counts as wrong ---------------------------------------------------------------------------------------------


def test_a_row_without_an_answer_is_wrong_and_the_certificate_says_how_many(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    made = table(path, some(0))
    save(path, made.with_columns(said=pl.when(pl.int_range(pl.len()) < 30).then(None).otherwise(pl.col("said"))))
    found = certified(path, audit=370)
    assert found.is_met
    assert "30 rows without one count as wrong" in found.policy
    assert found.accuracy_low == pytest.approx(1 - 30 / N)  # all the others were looked at
    fewer = certified(path, audit=200)
    assert fewer.accuracy_low is not None
    assert 0.9 <= fewer.accuracy_low < 1 - 30 / N
    save(path, made.with_columns(said=pl.when(pl.int_range(pl.len()) < 41).then(None).otherwise(pl.col("said"))))
    missing = certified(path, audit=359)
    assert not missing.is_met
    assert "41 rows have no label to compare" in missing.reason


def test_rows_without_an_answer_leave_fewer_errors_to_the_others(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    made = table(path, some(0))
    save(path, made.with_columns(said=pl.when(pl.int_range(pl.len()) < 30).then(None).otherwise(pl.col("said"))))
    found = certified(path, audit=80)  # enough for 40 errors in 400 rows, not for 10 in 370
    assert found.n_errors == 0
    assert [one.passes for one in found.audits] == [found.is_met] == [False]


def test_a_row_without_a_text_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    made = table(path, some(0))
    save(path, made.with_columns(text=pl.when(pl.int_range(pl.len()) < 100).then(None).otherwise(pl.col("text"))))
    found = certified(path)
    assert (found.n_rows, found.n_empty) == (300, 100)
    assert any("100 rows without a text" in line for line in found.does_not_cover)


def test_a_few_gaps_of_the_reference_count_as_wrong_and_many_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    made = table(path, some(0))
    save(path, made.with_columns(stars=pl.when(pl.int_range(pl.len()) < 20).then(None).otherwise(pl.col("stars"))))
    found = certified(path, audit=380)
    assert found.is_met
    assert found.n_unproven == 20
    assert found.accuracy_low == pytest.approx(0.95)
    save(path, made.with_columns(stars=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col("stars"))))
    with pytest.raises(UsageError, match=r"200 of 400 rows with a text have no label there.*--missing-at-random"):
        certified(path)
    stated = certified(path, audit=150, settings={"certificate.missing_at_random": True})
    assert stated.is_met
    assert stated.n_unproven == 0
    assert stated.n_audit == 150
    assert any("your statement" in line for line in stated.does_not_cover)


# --- trying again -----------------------------------------------------------------------------------------------------


def test_the_same_labels_again_are_the_same_attempt_in_any_file_format(tmp_path: Path) -> None:
    made = table(tmp_path / "in.parquet", some(8))
    save(tmp_path / "in.csv", made.with_columns(more=pl.lit("a column more")))
    first, again, as_csv = (certified(tmp_path / name) for name in ("in.parquet", "in.parquet", "in.csv"))
    assert first == again
    assert (as_csv.seed, as_csv.attempt, as_csv.n_errors) == (first.seed, 1, first.n_errors)


def test_another_order_of_the_rows_is_a_further_attempt_on_the_same_table(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    made = table(path, some(8))
    first = certified(path)
    save(path, made.reverse())
    turned = certified(path)
    assert (first.attempt, turned.attempt) == (1, 2)
    assert turned.delta < first.delta
    assert turned.seed != first.seed


def test_a_blank_row_that_is_put_elsewhere_is_a_further_attempt_too(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    made = table(path, some(8))
    blank = made[:1].with_columns(text=pl.lit(" "))
    found = []
    for parts in ([blank, made], [made[:1], blank, made[1:]]):  # the labels stay in their order
        save(path, pl.concat(parts))
        found.append(certified(path).attempt)
    assert found == [1, 2]


def test_another_target_is_a_further_attempt(tmp_path: Path) -> None:
    table(tmp_path / "in.parquet", some(8))
    assert [certified(tmp_path / "in.parquet", target=target).attempt for target in (0.9, 0.8, 0.9)] == [1, 2, 1]


def test_labels_that_are_mended_where_the_sample_looked_are_tested_on_another_sample(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    made = table(path, some(120))
    first = certified(path, audit=100)
    assert not first.is_met
    seen = pl.int_range(pl.len()).is_in(drawn_rows(path, first).tolist())
    mended = made.with_columns(said=pl.when(seen).then(pl.col("stars")).otherwise(pl.col("said")))
    assert (mended["said"] != mended["stars"]).sum() > 40  # still beyond the promise
    save(path, mended)
    second = certified(path, audit=100)
    assert second.attempt == 2
    assert not second.is_met
    assert second.n_errors > 0


def test_a_reference_that_is_mended_where_the_sample_looked_is_drawn_anew_as_well(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    made = table(path, some(120))
    first = certified(path, audit=100)
    save(path, made.with_columns(stars=pl.col("said")))
    assert certified(path, audit=100).attempt == 2
    assert first.attempt == 1


def test_renaming_either_column_draws_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    made = table(path, some(8))
    first = certified(path)
    save(path, made.rename({"said": "theirs", "stars": "ours"}))
    found = certified(path, answer_column="theirs", reference="column:ours")
    assert (found.seed, found.n_errors) == (first.seed, first.n_errors)
    save(path, made.rename({"said": "theirs"}))
    assert certified(path, answer_column="theirs").attempt == 1


def test_digests_do_not_hang_on_how_the_rows_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    table(path, some(8))
    task, found = config.load_task("sentiment"), []
    for chunk_rows in (7, 1000):
        choice = load.ColumnChoice(label="said")
        with load.open_table([str(path)], task=task, choice=choice, chunk_rows=chunk_rows) as opened:
            found.append(freezing.read(opened, None, task.labels))
    assert (found[0].content, found[0].texts, found[0].frozen) == (found[1].content, found[1].texts, found[1].frozen)


# --- people -----------------------------------------------------------------------------------------------------------


def answer(path: Path, n: int, *, n_skipped: int = 0) -> None:
    """Let somebody answer the first n rows that `review` draws of a table, as its stars have it, or skip the first."""
    task = config.load_task("sentiment")
    with load.open_table([str(path)], task=task, choice=load.ColumnChoice(label="stars")) as opened:
        fingerprint = opened.fingerprint()
        seed = certify.seed(fingerprint, task.name, *task.labels, "human")
        frame = draws.draw(opened, seed, n).frame
        place = human.place(
            path.parent / "home", table=fingerprint, task=task.name, labels=task.labels,
            columns=(opened.columns.text, opened.columns.title),
        )  # fmt: skip
    with human.Answers(place, task.labels) as answers:
        said = [None] * n_skipped + frame["label"].to_list()[n_skipped:]
        answers.append(zip(frame["row"].to_list(), said, strict=True))


def test_people_who_answered_the_labelled_table_certify_it(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    table(path, some(8))
    with pytest.raises(InputError, match="reviewopt review"):
        certified(path, reference="human")
    answer(path, 150)
    found = certified(path, reference="human")
    assert found.is_met
    assert found.n_audit == 150
    assert found.kind == "human"
    answer(path, 250)
    assert (certified(path, reference="human").n_audit, certified(path, reference="human").attempt) == (250, 1)


def test_a_row_that_people_skipped_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    table(path, some(0))
    answer(path, 150, n_skipped=40)
    found = certified(path, reference="human")
    assert (found.is_met, found.n_audit, found.n_errors) == (False, 150, 40)


def test_few_answers_of_people_prove_little_and_the_certificate_says_what_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    table(path, some(0))
    answer(path, 12)
    found = certified(path, reference="human")
    assert not found.is_met
    assert (found.n_audit, found.n_errors) == (12, 0)
    assert "more of its answers may prove it" in found.reason


def test_people_who_answered_the_same_rows_elsewhere_certify_them_and_the_certificate_says_what_that_rests_on(
    tmp_path: Path,
) -> None:
    path, plain = tmp_path / "in.parquet", tmp_path / "plain.parquet"
    made = table(path, some(8))
    save(plain, made.select("text", "stars"))
    answer(plain, 150)
    with pytest.raises(InputError, match="nobody has answered"):
        certified(path, reference="human")
    found = certified(path, reference="human", reviewed=plain)
    assert found.is_met
    assert found.n_audit == 150
    assert any("knew people's answers" in line for line in found.does_not_cover)
    save(path, made[::-1])
    with pytest.raises(UsageError, match="same rows in the same order"):
        certified(path, reference="human", reviewed=plain)


def test_our_own_labels_are_not_certified_by_people_whose_answers_they_may_have_used(tmp_path: Path) -> None:
    path, plain = tmp_path / "in.parquet", tmp_path / "plain.parquet"
    made = table(path, some(8))
    save(plain, made.select("text", "stars"))
    answer(plain, 150)
    save(path, made.with_columns(said_confidence=pl.lit(1.0), said_source=pl.lit("l2"), said_cost_usd=pl.lit(0.0)))
    with pytest.raises(UsageError, match="written by reviewopt"):
        certified(path, reference="human", reviewed=plain)


# --- slices -----------------------------------------------------------------------------------------------------------


def test_each_category_has_its_own_promise_and_a_missing_answer_is_held_against_its_own(tmp_path: Path) -> None:
    path, n = tmp_path / "in.parquet", 1200
    names = ["tiny" if row < 10 else "good" if row % 2 else "bad" for row in range(n)]
    made = table(path, np.zeros(n, np.bool_), category=names)
    gone = (pl.col("category") == "bad") & (pl.int_range(pl.len()) % 5 == 0)
    save(path, made.with_columns(said=pl.when(gone).then(None).otherwise(pl.col("said"))))
    found = certified(path, target=0.85, audit=500, settings={"certificate.per": "category"})
    slices = {one.name: one for one in found.slices}
    assert {name: one.state for name, one in slices.items()} == {
        "good": "certified", "bad": "not met", "tiny": "not certified"
    }  # fmt: skip
    assert slices["bad"].n_errors == 0
    assert sum(one.n_sampled for one in found.slices) == 500


def test_a_promise_for_each_category_needs_a_category_column(tmp_path: Path) -> None:
    table(tmp_path / "in.parquet", some(8))
    with pytest.raises(UsageError, match="--category-column"):
        certified(tmp_path / "in.parquet", settings={"certificate.per": "category"})
