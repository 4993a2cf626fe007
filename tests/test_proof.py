"""What a certificate says of a run is true of the labels that were written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from proofs import World, calibrated, first_rows, n_wrong, prove
from scipy.stats import binom

from reviewopt.certificate import Certificate
from reviewopt.models.scripted import Scripted
from reviewopt.record import Run


def certificate_of(run: Run) -> Certificate:
    assert run.certificate is not None
    return run.certificate


def test_the_labels_that_are_written_keep_the_promise_that_cal_made(tmp_path: Path) -> None:
    n_runs, delta, broken = 30, 0.05, 0
    for seed in range(n_runs):
        world, folder = calibrated(900, seed), tmp_path / str(seed)
        folder.mkdir()
        run, out = prove(world, folder, sizes=(0, 150, 0))
        found = certificate_of(run)
        assert found.is_met
        assert found.method == "cal"
        broken += n_wrong(world, out) > 90
    assert broken <= binom.ppf(0.999, n_runs, delta)


def test_the_labels_that_are_written_keep_the_promise_that_an_audit_made(tmp_path: Path) -> None:
    n_runs, delta, broken, n_met = 6, 0.05, 0, 0
    for seed in range(n_runs):
        world, folder = calibrated(900, seed, error=0.2), tmp_path / str(seed)
        folder.mkdir()
        rng = np.random.default_rng(1000 + seed)
        off = (
            rng.random(900) < 0.095
        )  # just within the promise, so that a wrong audit would often pass what is beyond it
        world = World(
            truth=world.truth,
            local=world.local,
            confidence=world.confidence,
            middle=np.where(off, (world.truth + 1) % 3, world.truth),
        )
        run, out = prove(world, folder, kind="model", sizes=(50, 150, 400))
        found = certificate_of(run)
        n_met += found.is_met
        broken += found.is_met and n_wrong(world, out) > 90
    assert n_met
    assert broken <= binom.ppf(0.999, n_runs, delta)


def test_sampled_rows_have_the_references_own_label_and_say_so(tmp_path: Path) -> None:
    world = calibrated(900, 1)
    run, out = prove(world, tmp_path)
    found = certificate_of(run)
    n_reference = int((out["sentiment_source"] == "reference").sum())
    assert n_reference == found.n_reference_rows >= found.n_cal == 300
    assert found.n_reference_saved == 900 - n_reference


def test_a_hopeless_local_model_is_switched_off_and_every_row_has_the_references_answer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    world = World(truth=rng.integers(0, 3, 900), local=rng.integers(0, 3, 900), confidence=np.full(900, 0.34))
    run, out = prove(world, tmp_path)
    found = certificate_of(run)
    assert found.method == "all"
    assert found.is_met
    assert found.accuracy_low == 1.0
    assert n_wrong(world, out) == 0


def test_a_table_that_the_sample_takes_whole_has_the_references_answers_alone(tmp_path: Path) -> None:
    world = calibrated(40, 3)
    run, out = prove(world, tmp_path)
    assert certificate_of(run).method == "all"
    assert n_wrong(world, out) == 0


def test_a_confidently_wrong_local_model_is_not_accepted(tmp_path: Path) -> None:
    world = calibrated(900, 4)
    world = World(truth=world.truth, local=(world.truth + 1) % 3, confidence=np.full(900, 0.99))
    run, out = prove(world, tmp_path)
    assert certificate_of(run).is_met
    assert n_wrong(world, out) == 0


def test_copies_count_as_rows_and_one_wrong_text_can_cost_the_promise(tmp_path: Path) -> None:
    n = 900
    text = np.where(np.arange(n) < 300, 0, np.arange(n))  # one text has a third of the rows, and is answered wrongly
    truth = np.zeros(n, np.int64)
    world = World(truth=truth, local=np.where(text == 0, 1, 0), confidence=np.full(n, 0.999), text=text)
    run, out = prove(world, tmp_path)
    assert certificate_of(run).is_met
    assert n_wrong(world, out) <= 90


def test_people_whose_answers_are_few_prove_little_and_the_run_says_what_is_proven(tmp_path: Path) -> None:
    world = calibrated(900, 5, error=0.02)
    answers = {row: ("negative", "neutral", "positive")[code] for row, code in enumerate(world.truth.tolist())}
    few, _ = prove(world, tmp_path, kind="human", human=answers, sizes=(0, 0, 40), target=0.95)
    many_folder = tmp_path / "many"
    many_folder.mkdir()
    many, out = prove(world, many_folder, kind="human", human=answers, sizes=(0, 0, 600), target=0.9)
    less, more = certificate_of(few), certificate_of(many)
    assert not less.is_met
    assert "audited" in less.reason
    assert more.is_met
    assert more.accuracy_low is not None
    assert more.accuracy_low >= 0.9
    assert int((out["sentiment_source"] == "human").sum()) == more.n_audit


def test_a_skipped_review_counts_as_wrong(tmp_path: Path) -> None:
    world = calibrated(900, 6, error=0.02)
    answers: dict[int, str | None] = dict.fromkeys(range(900))
    run, _ = prove(world, tmp_path, kind="human", human=answers, sizes=(0, 0, 50))
    found = certificate_of(run)
    assert not found.is_met
    assert found.n_errors == found.n_audit == 50


def test_an_audit_that_fails_sends_the_riskiest_rows_to_the_reference(tmp_path: Path) -> None:
    """The worst luck there is: the model between is right wherever CAL looks, and wrong on one row in six elsewhere."""
    rng = np.random.default_rng(7)
    truth, unsure = rng.integers(0, 3, 900), rng.random(900) < 0.2
    seen = World(truth=truth, local=(truth + 1) % 3, confidence=np.full(900, 0.3), middle=truth)
    lucky = first_rows(seen, tmp_path, "strong", 120)
    wrong = unsure & ~np.isin(np.arange(900), lucky)
    world = replace(seen, middle=np.where(wrong, (truth + 1) % 3, truth), middle_confidence=np.where(unsure, 0.6, 0.9))
    run, out = prove(world, tmp_path, kind="model", sizes=(20, 100, 300))
    found = certificate_of(run)
    assert [one.passes for one in found.audits] == [False] * (len(found.audits) - 1) + [True]
    assert found.audits[-1].n_escalated > 0
    assert found.is_met
    assert n_wrong(world, out) <= 90


def test_each_category_has_its_promise_and_a_small_one_says_that_it_has_none(tmp_path: Path) -> None:
    world = calibrated(1500, 8, error=0.15)
    names = ["tiny" if row < 20 else "books" if row % 2 else "tools" for row in range(1500)]
    world = World(truth=world.truth, local=world.local, confidence=world.confidence, tenant=names)
    run, out = prove(world, tmp_path, sizes=(0, 500, 0), settings={"certificate.per": "category"})
    slices = {one.name: one for one in certificate_of(run).slices}
    assert slices["tiny"].state == "not certified"
    assert slices["tiny"].accuracy_low is None
    for name in ("books", "tools"):
        assert slices[name].state == "certified"
        rows = np.array([one == name for one in names])
        said = out["sentiment"].cast(str).to_numpy()[rows]
        truth = np.array(["negative", "neutral", "positive"])[world.truth[rows]]
        assert (said != truth).mean() <= 0.1


def test_a_reference_that_gives_no_answer_costs_the_promise(tmp_path: Path) -> None:
    world = calibrated(900, 9)
    known = {text: label for text, label in world.says(world.truth).items() if int(text.split()[-1]) % 2}
    run, _ = prove(world, tmp_path, kind="model", reference=Scripted(known, name="strong"), sizes=(0, 300, 0))
    found = certificate_of(run)
    assert not found.is_met
    assert found.n_unproven > 0
    assert "gave none" in found.reason


def test_a_second_target_on_the_same_table_gets_less_of_delta_and_the_same_one_again_does_not(tmp_path: Path) -> None:
    world = calibrated(900, 10)
    first, _ = prove(world, tmp_path, target=0.9)
    again, _ = prove(world, tmp_path, target=0.9)
    other, _ = prove(world, tmp_path, target=0.85)
    one, two, three = map(certificate_of, (first, again, other))
    assert (one.attempt, two.attempt, three.attempt) == (1, 1, 2)
    assert one.delta == two.delta == pytest.approx(0.045)
    assert three.delta < 0.005


def test_the_draw_hangs_on_the_table_alone(tmp_path: Path) -> None:
    world = calibrated(300, 11)
    seeds = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        run, _ = prove(world, folder, sizes=(0, 100, 0))
        seeds.append(certificate_of(run).seed)
    assert seeds[0] == seeds[1]


def test_a_second_run_of_a_certified_model_asks_nothing_and_proves_the_same(tmp_path: Path) -> None:
    world = calibrated(600, 12)
    first, before = prove(world, tmp_path, kind="model", sizes=(0, 200, 0))
    second, after = prove(world, tmp_path, kind="model", sizes=(0, 200, 0))
    assert first.asked is not None
    assert first.asked.n_requests > 0
    assert second.asked is not None
    assert second.asked.n_requests == 0
    assert before["sentiment"].to_list() == after["sentiment"].to_list()
    assert certificate_of(first).accuracy_low == certificate_of(second).accuracy_low


def test_an_audit_is_not_answered_by_what_an_earlier_audit_bought(tmp_path: Path) -> None:
    """A second run must see the errors that the first one saw: the archive knows the sample's right answers by then."""
    world = calibrated(900, 13, error=0.2)
    off = np.arange(900) % 20 == 0
    world = World(
        truth=world.truth,
        local=world.local,
        confidence=np.full(900, 0.3),
        middle=np.where(off, (world.truth + 1) % 3, world.truth),
    )
    first, _ = prove(world, tmp_path, kind="model", sizes=(20, 100, 300))
    second, _ = prove(world, tmp_path, kind="model", sizes=(20, 100, 300))
    one, two = certificate_of(first), certificate_of(second)
    assert one.method == "audit"
    assert one.n_errors > 0
    assert (two.n_errors, two.n_audit) == (one.n_errors, one.n_audit)


def test_every_cent_is_in_the_cost_column(tmp_path: Path) -> None:
    world = calibrated(600, 14)
    run, out = prove(world, tmp_path, kind="model", sizes=(0, 200, 0))
    assert run.asked is not None
    assert float(out["sentiment_cost_usd"].sum()) == pytest.approx(float(run.asked.spent_usd), rel=1e-4)


def test_rows_without_a_label_in_the_references_column_count_as_wrong(tmp_path: Path) -> None:
    world = calibrated(900, 15)
    hidden = np.arange(900) % 45 == 0
    run, out = prove(world, tmp_path, hidden=hidden)
    found = certificate_of(run)
    assert found.n_unproven == 20
    assert found.is_met
    assert found.accuracy_low == 0.9
    said = out["sentiment"].cast(str).to_numpy()
    wrong = said != np.array(["negative", "neutral", "positive"])[world.truth]
    assert int((wrong | hidden).sum()) <= 90


def test_gaps_take_from_the_errors_that_are_allowed(tmp_path: Path) -> None:
    whole, gaps = tmp_path / "whole", tmp_path / "gaps"
    shares: list[int] = []
    for folder, hidden in ((whole, np.zeros(900, np.bool_)), (gaps, np.arange(900) % 15 == 0)):
        folder.mkdir()
        run, _ = prove(calibrated(900, 16, error=0.15), folder, hidden=hidden)
        shares.append(certificate_of(run).most_errors or 0)
    assert shares[1] < shares[0]


def test_a_sampled_row_that_its_test_counts_as_wrong_is_no_further_error(tmp_path: Path) -> None:
    """The reference refuses one text of CAL whose answer is accepted: the test has allowed for it already."""
    world = replace(calibrated(900, 17, error=0.05), confidence=np.full(900, 0.99))
    row = int(first_rows(world, tmp_path, "strong", 300)[0])
    known = world.says(world.truth)
    del known[f"review number {row}"]
    run, _ = prove(world, tmp_path, kind="model", reference=Scripted(known, name="strong"), sizes=(0, 300, 0))
    found = certificate_of(run)
    assert (found.method, found.is_met, found.n_unproven) == ("cal", True, 0)
    assert found.n_errors >= 1


def test_where_nothing_is_tested_a_part_counts_the_rows_without_a_label(tmp_path: Path) -> None:
    world = replace(
        calibrated(300, 18), confidence=np.full(300, 0.3), tenant=["a" if at < 30 else "b" for at in range(300)]
    )
    hidden = np.arange(300) < 20
    run, _ = prove(world, tmp_path, hidden=hidden, sizes=(20, 100, 0), settings={"certificate.per": "category"})
    found = certificate_of(run)
    assert found.is_met
    assert found.method == "all"
    part = next(one for one in found.slices if one.name == "a")
    assert part.state == "not met"
    assert part.accuracy_low == pytest.approx(1 - 20 / 30)
