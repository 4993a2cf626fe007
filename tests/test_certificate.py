"""What people read of a certificate. After a wanted change run with SNAPSHOTS=write, then read the difference."""

from __future__ import annotations

import io
import json
from typing import Any

import jsonschema
import msgspec
import pytest
from certificates import AUDITED, PROVEN
from rich.console import Console
from test_render import same_as_snapshot

from reviewopt import certificate as certificates
from reviewopt.certificate import Certificate, Drift, Slice
from reviewopt.config import packaged
from reviewopt.render import certificate as shown

SCHEMA = "rewrite configs/certificate.schema.json: CONTRIBUTING.md says how"


def changed(made: Certificate, **values: Any) -> Certificate:
    return msgspec.structs.replace(made, **values)


def drawn(made: Certificate, width: int = 80) -> str:
    file = io.StringIO()
    shown.show_certificate(Console(file=file, width=width, force_terminal=False), made)
    return file.getvalue()


def on_one_line(made: Certificate) -> str:
    """The text without the breaks that the width made."""
    return " ".join(drawn(made, 400).split())


@pytest.mark.parametrize(("name", "made"), [("certified", PROVEN), ("not_certified", AUDITED)])
def test_a_certificate_in_a_terminal(name: str, made: Certificate) -> None:
    text = f"{drawn(made)}\n{shown.line(made)}\n"
    same_as_snapshot(f"certificate_{name}.txt", text)
    assert max(map(len, drawn(made).splitlines())) <= 80


def test_every_certificate_begins_with_the_promise() -> None:
    promise = "of the 10,000 rows with a text carry the label of column:rating, at 95 % confidence."
    assert on_one_line(PROVEN).startswith(f"Certified: at least 95.0 % {promise}")
    not_met = changed(PROVEN, is_met=False, reason="too few rows were drawn", accuracy_low=None)
    assert on_one_line(not_met).startswith(
        f"Not certified: that at least 95 % {promise} Why: too few rows were drawn. asked for"
    )


@pytest.mark.parametrize(
    "values", [{"is_met": False}, {"accuracy_low": None}, {"is_met": False, "accuracy_low": 0.93}], ids=str
)
def test_what_is_not_met_or_has_no_bound_is_never_called_certified(values: dict[str, Any]) -> None:
    made = changed(PROVEN, **values)
    for text in (drawn(made), shown.line(made)):
        assert text.lower().startswith("not certified: that")
    assert ("Proven all the same: at least 93.0 %." in drawn(made)) == (values.get("accuracy_low") == 0.93)


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.94999, "94.9 %"), (0.95, "95.0 %"), (0.29, "29.0 %"), (0.999999, "99.9 %"), (1.0, "100.0 %"),
     (1 - 0.3, "70.0 %"), (0.1 + 0.7, "80.0 %"), (0.0, "0.0 %"), (None, "nothing"), (float("nan"), "nothing")],
)  # fmt: skip
def test_a_bound_is_never_rounded_up(share: float | None, words: str) -> None:
    assert shown.at_least(share) == words


def test_a_target_keeps_its_digits() -> None:
    made = changed(PROVEN, target=0.9995, confidence=0.999)
    assert "asked for 99.95 % at 99.9 % confidence" in on_one_line(made)


def test_no_figure_stands_there_that_the_certificate_has_not() -> None:
    """Of a certificate in which every number is another one, each number that is shown is one of its own."""
    names = ("n_rows", "n_train", "n_cal", "n_errors", "most_errors", "n_reference_rows", "n_reference_saved")
    made = changed(PROVEN, does_not_cover=(), policy="p", **{name: 10_007 + 13 * at for at, name in enumerate(names)})
    numbers = {
        word.strip("(),;.") for word in on_one_line(made).split() if word.strip("(),;.").replace(",", "").isdigit()
    }
    assert numbers == {f"{10_007 + 13 * at:,}" for at in range(7)} | {"95", "3"}


def test_a_further_attempt_says_which_and_what_it_was_held_to() -> None:
    assert "attempt" not in drawn(PROVEN)
    text = on_one_line(changed(PROVEN, attempt=3, delta=0.05 / 9))
    assert "the 3rd on this table and reference" in text
    assert "may be wrong with a chance of 5 %, so this one was held to 0.556 %" in text


def test_a_table_that_the_reference_labelled_whole_needs_no_test() -> None:
    text = on_one_line(changed(PROVEN, method="all", n_cal=0, accuracy_low=1.0, accuracy_seen=1.0))
    assert "nothing to test: every row has the reference's own answer" in text
    assert "errors" not in text
    assert "estimate" not in text


def test_people_are_called_people_and_models_show_their_requests() -> None:
    people = changed(PROVEN, reference="human", kind="human")
    assert "carry the label of people, at" in on_one_line(people)
    assert "requests" not in on_one_line(people)
    model = changed(PROVEN, reference="gpt", kind="model", n_reference_calls=2313)
    assert "2,313 requests to it" in on_one_line(model)


def test_slices_that_failed_come_first_and_the_others_are_counted() -> None:
    good = [one(f"good{at}", "certified") for at in range(20)]
    made = changed(PROVEN, per="tenant", slices=(*good, one("bad", "not met"), one("small", "not certified")))
    lines = drawn(made).splitlines()
    rows = [line.split()[0] for line in lines if " 1,000,000 " in line]
    assert rows[:3] == ["bad", "small", "good0"]
    assert len(rows) == 12
    assert not [line for line in lines if "…" in line]
    assert "and 10 more, with --json" in drawn(made)


def one(name: str, state: certificates.SliceState) -> Slice:
    low = 0.951 if state == "certified" else None
    return Slice(name=name, n_rows=1_000_000, n_sampled=3600, n_errors=9, most_errors=12, accuracy_low=low, state=state)


def test_many_drifts_are_counted_by_chunk_and_cut_short() -> None:
    old = AUDITED.drift[0]
    many = tuple(msgspec.structs.replace(old, first_row=at, last_row=at) for at in range(7))
    text = on_one_line(changed(AUDITED, drift=many))
    assert "drift 7 chunks are unlike the sample" in text
    assert text.count("the mix of labels is unlike") == 5
    assert "and 2 more, with --json" in text
    assert "drift" not in on_one_line(changed(AUDITED, drift=()))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "human", "reference": "human"}, "reviewopt review"),
        ({"n_unproven": 3, "kind": "column", "reference": "column:stars"}, "fill the gaps of column:stars"),
        ({"n_unproven": 3}, "are asked once more"),
        ({"n_unproven": 0, "accuracy_seen": 0.93}, "a better model in between"),
        ({"n_unproven": 0, "accuracy_seen": 0.96}, "a larger sample"),
        ({"target": 0.999}, "agrees with itself no more often"),
    ],
)
def test_what_is_not_certified_ends_with_what_to_do(values: dict[str, Any], words: str) -> None:
    text = on_one_line(changed(AUDITED, **values))
    assert words in text[text.index(" next ") :]
    assert " next " not in on_one_line(PROVEN)


def test_foreign_text_is_neither_markup_nor_escape_codes() -> None:
    code = "[red]\x1b]0;a\x07\u202eb"
    made = changed(
        AUDITED, reference=code, reason=code, policy=code, table=code, seed=code, policy_hash=code, per=code,
        slices=(msgspec.structs.replace(AUDITED.slices[0], name=code),), does_not_cover=(code,),
        drift=(msgspec.structs.replace(AUDITED.drift[0], measure=code, test=code),),
    )  # fmt: skip
    for text in (drawn(made, 400), shown.line(made)):
        assert "[red]?]0;a??b" in text
        assert all(line.isprintable() for line in text.split("\n"))


def test_a_certificate_meets_the_committed_schema() -> None:
    schema = json.loads(packaged("configs", "certificate.schema.json").read_text())
    for made in (PROVEN, AUDITED):
        jsonschema.validate(json.loads(msgspec.json.encode(made)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(msgspec.json.encode(PROVEN)), "kind": "guess"}, schema)


def test_the_committed_schema_is_the_types_schema() -> None:
    committed = json.loads(packaged("configs", "certificate.schema.json").read_text())
    assert committed == certificates.json_schema(), SCHEMA


def test_the_schema_demands_every_key() -> None:
    for definition in certificates.json_schema()["$defs"].values():  # type: ignore[attr-defined]
        assert set(definition["required"]) == set(definition["properties"])


def test_a_drift_that_was_referred_says_so() -> None:
    old: Drift = AUDITED.drift[0]
    text = on_one_line(changed(AUDITED, drift=(msgspec.structs.replace(old, n_escalated=5000),)))
    assert "5,000 of them went to the reference" in text


@pytest.mark.parametrize(
    ("attempt", "says"),
    [
        ({"test": "e-process", "n_audited": 0, "n_errors": 0, "e_value": 1e300}, "no row was left to check"),
        ({"test": "cut", "n_escalated": 0}, "no row had to go to the reference"),
    ],
)
def test_an_audit_of_nothing_and_a_cut_that_takes_nothing_say_so(attempt: dict[str, Any], says: str) -> None:
    audit = msgspec.structs.replace(AUDITED.audits[0], **attempt)
    text = on_one_line(msgspec.structs.replace(AUDITED, audits=(audit,)))
    assert says in text
    assert "the 0 riskiest" not in text
    assert "e+300" not in text
