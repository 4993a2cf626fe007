"""`reviewopt compare` as a user calls it: which columns it takes, what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from conftest import Run
from rich.console import Console
from rich.measure import Measurement
from test_render import SNAPSHOTS, same_as_snapshot

from reviewopt.compare import Comparison
from reviewopt.compare.values import Mixed, Word
from reviewopt.render import compare as render

NEG, NEU, POS = "negative", "neutral", "positive"
TEXTS = ["good", "bad one", "good", "fine[red]", "\x1b[31mred", "never again", "so so", "top", "awful", "ok"]
STARS = [5, 1, 5, 4, 2, 1, 3, 5, 1, 3]
A = [POS, NEG, POS, POS, POS, NEG, NEG, POS, POS, NEG]
B = [POS, NEG, POS, NEG, NEG, NEG, NEU, POS, NEG, NEU]
SURE_A = [0.9, 0.8, 0.9, 0.7, 0.55, 0.99, 0.6, 0.9, 0.95, 0.5]
SURE_B = [0.9, 0.8, 0.9, 0.6, 0.75, 0.99, 0.4, 0.9, 0.9, 0.5]


def columns(said: list[str], sure: list[float], cost: str, source: str) -> dict[str, Any]:
    return {
        "sentiment": said,
        "sentiment_confidence": sure,
        "sentiment_source": [source] * 9 + ["exact"],
        "sentiment_cost_usd": pl.Series([cost] * 10).cast(pl.Decimal(18, 12)),
    }


@pytest.fixture(autouse=True)
def tables(tmp_path: Path) -> Path:
    """Two outputs of `process` on the same reviews, in the folder where the command runs."""
    reviews = {"id": [f"review-{at:05}" for at in range(10)], "text": TEXTS, "stars": STARS, "category": list("xy" * 5)}
    pl.DataFrame({**reviews, **columns(A, SURE_A, "0.0002", "local")}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({**reviews, **columns(B, SURE_B, "0.003", "strong")}).write_parquet(tmp_path / "b.parquet")
    return tmp_path


def made_of(run: Run, *arguments: str) -> dict[str, Any]:
    done = run("compare", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


# --- what it prints ---------------------------------------------------------------------------------------------------


def drawn(made: Comparison, width: int) -> str:
    file = io.StringIO()
    render.show_comparison(Console(file=file, width=width, force_terminal=False), made)
    return file.getvalue()


@pytest.fixture
def made() -> Comparison:
    return msgspec.json.decode((SNAPSHOTS / "comparison.json").read_bytes(), type=Comparison)


def test_a_comparison_in_a_terminal_and_for_a_program(inside: Run) -> None:
    done = inside("compare", "a.parquet", "b.parquet", "--json", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    same_as_snapshot("comparison.json", done.stdout)
    same_as_snapshot("comparison.txt", drawn(msgspec.json.decode(done.stdout, type=Comparison), 80))


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal_whatever_the_tables_hold(made: Comparison, width: int) -> None:
    long = "a very long name of a store " * 3
    many = dict.fromkeys((f"{long}{at}" for at in range(3)), 1_000_000)
    side = msgspec.structs.replace(made.a, n_answered=1_000_000_000, n_by_source=many, usd="1234567.89")
    difference = msgspec.structs.replace(made.differences[0], review_id=long, text="文" * 200, n_alike=1_000)
    group = msgspec.structs.replace(made.groups[0], group=long)
    big = msgspec.structs.replace(
        made, a=side, b=side, differences=(difference,) * 3, groups=(group,) * 9, notes=(), n_copies=0
    )
    for table in (
        render._figures(big),
        render._sources(big),
        render._groups("category", list(big.groups), has_truth=True),
    ):
        room = Console().options.update(width=1_000)  # as wide as it is, not as the terminal allows
        assert Measurement.get(Console(), room, table).maximum <= width
    shown = io.StringIO()
    Console(file=shown, width=width).print(render._differences(big, width))
    lines = shown.getvalue().splitlines()
    assert "negative .90" in lines[4]  # neither labels nor confidences are cut
    assert len(lines) == 4 + 3 + 1  # and no row takes two lines


@pytest.mark.parametrize("width", [40, 60])
def test_nothing_is_cut_in_a_narrow_terminal(made: Comparison, width: int) -> None:
    mixed = Mixed(label="neutral", n_a=1, n_b=2, dropped=made.overall)
    side = msgspec.structs.replace(made.a, usd="1234567.89")
    made = msgspec.structs.replace(made, a=side, mixed=mixed)
    narrow, wide = drawn(made, width), drawn(made, 400)
    assert "…" not in narrow
    figures = re.findall(r"[-+$]*\d[\d,.]*", wide.split("where they differ")[0])
    assert [one for one in figures if one not in narrow] == []
    assert "cost\n  A: $1,234,567.89\n  B: $0.0300\n" in narrow
    assert "review: review-00008\n  A: positive .95\n" in narrow


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "B is right on 4 rows where A is wrong, A on 1: p = .375 (exact McNemar): no difference shown"),
        ({"better": "b"}, "B is more accurate"),
        ({"n_only_a_right": 80, "n_only_b_right": 120, "p_value": 0.0050}, "where A is wrong, A on 80: p = .005 ("),
        ({"n_only_a_right": 900, "n_only_b_right": 120, "p_value": 1e-99}, "A is right on 900 rows where B is wrong"),
        ({"p_value": 1e-99}, ": p < .0001 (exact McNemar)"),
        ({"n_only_a_right": 0, "n_only_b_right": 0, "p_value": 1.0}, "are right on the same of the 10 whose truth"),
        ({"n_only_b_right": 1, "n_only_a_right": 0}, "B is right on 1 row where A is wrong, A on 0: "),
        ({"p_value": None, "n_labelled": 0}, "is not known without a truth: --label-column NAME"),
    ],
)
def test_the_verdict_is_in_plain_words(made: Comparison, values: dict[str, Any], words: str) -> None:
    figures = {name: value for name, value in values.items() if name != "better"}
    changed = msgspec.structs.replace(
        made,
        overall=msgspec.structs.replace(made.overall, **figures),
        **{name: value for name, value in values.items() if name == "better"},
    )
    assert words in render.verdict(changed)


def test_copies_rows_without_labels_and_other_texts_are_remarked(made: Comparison) -> None:
    overall = msgspec.structs.replace(made.overall, n=9, n_labelled=7)
    text = drawn(msgspec.structs.replace(made, overall=overall, n_only_a=3, notes=("beware",)), 400)
    assert "copies of earlier rows: 1 (10.0 %); the test" in text
    assert "not compared: 1 row where A or B has no label" in text
    assert "without a truth: 2 rows; accuracy is that of the other 7" in text
    assert "matched by id; 3 only in A; truth: stars of A" in text
    assert "beware" in text
    text = drawn(msgspec.structs.replace(made, overall=overall, n_other_texts=1), 400)
    assert "left out of every figure of both: 1 row with the same id and another text in B" in text
    assert "not compared" not in text


def test_both_meanings_of_mixed_are_printed(made: Comparison) -> None:
    assert "mixed" not in drawn(made, 400)
    dropped = msgspec.structs.replace(made.overall, n=7, p_value=0.04)
    text = drawn(msgspec.structs.replace(made, mixed=Mixed(label=NEU, n_a=0, n_b=3, dropped=dropped)), 400)
    assert re.search(r"rows called mixed +rows .*\n.*\n count as neutral +10 .* \.375 *\n left out +7 .* \.04 ", text)
    assert "p = .375 (exact McNemar), p = .04 without the rows called mixed: no difference shown" in text
    nothing = msgspec.structs.replace(made.overall, p_value=None)
    text = drawn(msgspec.structs.replace(made, mixed=Mixed(label=NEU, n_a=0, n_b=3, dropped=nothing)), 400)
    assert "no row with a truth is left without the rows called mixed" in text


def test_labels_in_other_words_missing_costs_and_another_truth_are_remarked(inside: Run, tables: Path) -> None:
    b = pl.read_parquet(tables / "b.parquet")
    first = pl.int_range(pl.len()) < 4
    b.with_columns(
        sentiment=pl.when(first).then(pl.lit("Mixed")).otherwise("sentiment"),
        sentiment_cost_usd=pl.when(~first).then("sentiment_cost_usd"),
        stars=pl.lit(1),
    ).write_parquet(tables / "odd.parquet")
    done = inside("compare", "a.parquet", "odd.parquet", COLUMNS="400")
    assert "B has words of its own for 4 of its 10 labels: mixed=neutral (4)" in done.stdout
    assert "B says no cost for 4 of its 10 labels: what they cost in all is not known, and" in done.stdout
    assert "the cost of 1,000 is that of the 6 rows that have one" in done.stdout
    assert "stars differs in 6 of the 10 rows where both have it; that of A counts" in done.stdout
    assert "rows called mixed" in done.stdout
    assert re.search(r" cost +\$0.00200 +not measured ", done.stdout)


def test_the_words_of_a_table_are_named_up_to_six(made: Comparison) -> None:
    words = tuple(Word(word=f"w{at}", label=NEU, n=10 - at) for at in range(7))
    side = msgspec.structs.replace(made.a, mapped=words, n_mapped=50)
    assert "w5=neutral (5), 5 in others, with --json" in drawn(msgspec.structs.replace(made, a=side), 400)


def test_the_p_values_of_groups_say_that_they_are_adjusted(made: Comparison) -> None:
    groups = tuple(msgspec.structs.replace(one, p_adjusted=0.123) for one in made.groups)
    text = drawn(msgspec.structs.replace(made, groups=groups), 80)
    assert "p (Holm)" in text
    assert text.count(".123") == len(groups)


def test_one_row_is_not_called_rows(inside: Run, tables: Path) -> None:
    pl.DataFrame({"text": ["one"], "sentiment": [POS]}).write_csv(tables / "a.csv")
    pl.DataFrame({"text": ["one"], "sentiment": [NEG]}).write_csv(tables / "b.csv")
    done = inside("compare", "a.csv", "b.csv")
    assert "1 rows" not in done.stdout
    assert "1 row in both" in done.stdout


def test_foreign_text_is_neither_markup_nor_escape_codes(made: Comparison) -> None:
    code = "[red]\x1b]0;a\x07\u202eb"
    side = msgspec.structs.replace(made.a, inputs=(code,), column=code, n_by_source={code: 1})
    difference = msgspec.structs.replace(made.differences[0], review_id=code, text=code)
    group = msgspec.structs.replace(made.groups[0], group=code)
    truth = msgspec.structs.replace(made.truth, column=code) if made.truth else None
    text = drawn(
        msgspec.structs.replace(
            made, a=side, differences=(difference,), groups=(group,) * 2, truth=truth, notes=(code,)
        ),
        400,
    )
    assert text.count("[red]?]0;a??b") == 9
    assert all(line.isprintable() for line in text.split("\n"))


def test_quiet_prints_nothing(inside: Run) -> None:
    done = inside("compare", "a.parquet", "b.parquet", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- which columns are compared ---------------------------------------------------------------------------------------


def test_a_rivals_own_words_under_another_name_are_mapped(inside: Run, tables: Path) -> None:
    words = {NEG: "Bad", NEU: "meh", POS: "GOOD"}
    pl.DataFrame({"text": TEXTS, "verdict": [words[one] for one in B]}).write_csv(tables / "b.csv")
    options = ("--answer-column-b", "Verdict", "--label-map", "bad=negative, meh=neutral, good=positive")
    made = made_of(inside, "a.parquet", "b.csv", *options)
    assert (made["b"]["column"], made["matched_by"], made["overall"]["n_agree"]) == ("verdict", "order", 5)
    assert (made["b"]["usd"], made["usd_difference"], made["truth"]["column"]) == (None, None, "stars")


def test_two_columns_of_one_table_are_compared(inside: Run, tables: Path) -> None:
    pl.DataFrame({"text": TEXTS, "one": A, "two": B, "stars": STARS}).write_csv(tables / "both.csv")
    options = ("--answer-column", "one", "--answer-column-b", "two")
    assert made_of(inside, "both.csv", "both.csv", *options)["overall"]["n_agree"] == 5


def test_stars_are_compared_as_labels_and_are_no_truth_then(inside: Run) -> None:
    made = made_of(inside, "a.parquet", "b.parquet", "--answer-column-b", "stars")
    assert (made["overall"]["n_agree"], made["truth"]) == (6, None)
    chosen = made_of(inside, "a.parquet", "b.parquet", "--answer-column-b", "stars", "--label-column", "stars")
    assert chosen["overall"]["accuracy_b"]["value"] == 1


def test_the_answers_of_the_last_run_are_compared_and_the_tables_own_are_the_truth(inside: Run, tables: Path) -> None:
    ours = {f"reviewopt_{name}": values for name, values in columns(B, SURE_B, "0.1", "strong").items()}
    pl.DataFrame({"text": TEXTS, "sentiment": A, **ours}).write_parquet(tables / "again.parquet")
    made = made_of(inside, "again.parquet", "again.parquet")
    assert (made["a"]["column"], made["truth"]["column"]) == ("reviewopt_sentiment", "sentiment")
    twice = {**columns(A, SURE_A, "0.1", "local"), **ours}
    pl.DataFrame({"text": TEXTS, "stars": STARS, **twice}).write_parquet(tables / "twice.parquet")
    made = made_of(inside, "twice.parquet", "b.parquet")
    assert (made["a"]["column"], made["truth"]["column"], made["n_differ"]) == ("reviewopt_sentiment", "stars", 0)


def test_the_truth_is_looked_for_in_b_too_and_may_be_left_out(inside: Run, tables: Path) -> None:
    pl.DataFrame({"text": TEXTS, "sentiment": A}).write_csv(tables / "bare.csv")
    truth = made_of(inside, "bare.csv", "b.parquet")["truth"]
    assert (truth["column"], truth["side"]) == ("stars", "b")
    assert made_of(inside, "bare.csv", "b.parquet", "--label-column", "Stars")["truth"]["side"] == "b"
    assert made_of(inside, "a.parquet", "b.parquet", "--label-column", "none")["truth"] is None


def test_rows_are_matched_by_order_where_the_user_says_so(inside: Run) -> None:
    made = made_of(inside, "a.parquet", "b.parquet", "--id-column", "none", "--rows", "2")
    assert (made["matched_by"], len(made["differences"]), made["differences"][0]["review_id"]) == ("order", 2, "8")


# --- what it refuses --------------------------------------------------------------------------------------------------

REFUSED = {
    "a column that is not there": (("--answer-column", "sentimant"), "did you mean sentiment?"),
    "a column of B that is not there": (("--answer-column-b", "x"), "B, b.parquet: there is no column x;"),
    "the text": (("--answer-column", "text"), "text is read as the text"),
    "no such truth": (("--label-column", "truth"), "neither table has such a column"),
    "the truth is what is compared": (("--label-column", "Sentiment"), "are the same column, sentiment"),
    "the truth is no labels": (("--label-column", "id"), "column 'id' holds review-00000"),
    "ids that are not": (("--id-column", "category"), "category is that of an earlier row in 8 of 10 rows"),
    "no such option": (("--rows", "-1"), "--rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_exits_2(inside: Run, name: str) -> None:
    options, words = REFUSED[name]
    done = inside("compare", "a.parquet", "b.parquet", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in " ".join(done.stderr.split())


def test_tables_that_cannot_be_read_exit_2(inside: Run, tables: Path) -> None:
    (tables / "damaged.parquet").write_bytes(b"PAR1 no table PAR1")
    for other in ("missing.parquet", "damaged.parquet", "-"):
        done = inside("compare", "a.parquet", other, stdin="text\n")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1].startswith(f"reviewopt: {other if other != '-' else 'compare opens'}")
