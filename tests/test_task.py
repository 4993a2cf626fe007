"""Tasks: the packaged ones and the examples are valid, and a wrong one is refused with what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewopt import config, task
from reviewopt.errors import InputError, UsageError
from reviewopt.load import labels
from reviewopt.task import Choice, Predicate, Score, Task, Text

TASKS = Path(__file__).parents[1] / "configs" / "tasks"
README = (TASKS / "README.md").read_text(encoding="utf-8")
EXAMPLES = sorted((TASKS / "examples").glob("*.toml"))


def made(*fields: task.Field, **others: str) -> Task:
    return Task(**{"name": "t", "instructions": "Say.", **others}, fields=fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sentiment", "review", "category", *map(str, EXAMPLES)])
def test_every_packaged_task_and_example_is_valid(name: str) -> None:
    loaded = config.load_task(name)
    assert labels.label_map(loaded, None).names.keys() >= {label.lower() for label in loaded.labels}


def test_the_review_task_decides_four_things_and_sentiment_first() -> None:
    fields = config.load_task("review").fields
    assert [(type(field), field.name) for field in fields] == [
        (Choice, "sentiment"),
        (Score, "product_quality"),
        (Predicate, "purchase_recommendation"),
        (Text, "key_insights"),
    ]
    assert fields[1].labels == ("1", "2", "3", "4", "5")  # type: ignore[union-attr]
    assert fields[3].most_items == 3  # type: ignore[union-attr]


def test_a_category_can_be_other_and_each_is_explained() -> None:
    loaded = config.load_task("category")
    assert loaded.labels[-1] == "other"
    assert all(f"{label}:" in loaded.instructions or label == "other" for label in loaded.labels)


def test_the_readme_shows_each_example_as_it_is_with_its_command() -> None:
    assert {path.stem for path in EXAMPLES} == {"finance", "health", "law", "ecommerce"}
    for path in EXAMPLES:
        assert f"```toml\n{path.read_text(encoding='utf-8')}```" in README
        assert f"--task configs/tasks/examples/{path.name} " in README


def test_the_examples_show_every_kind_of_field() -> None:
    kinds = {type(field) for path in EXAMPLES for field in config.load_task(str(path)).fields}
    assert kinds == {Choice, Score, Predicate, Text}


def test_the_readme_explains_every_key() -> None:
    keys = {
        *Task.__struct_fields__,
        *(key for kind in (Choice, Score, Predicate, Text) for key in kind.__struct_fields__),
    }
    assert [key for key in sorted(keys) if not re.search(rf"`\[*{key}\]*`", README)] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "sentimental",
            "there is no task sentimental; did you mean sentiment? packaged are: sentiment, category, review",
        ),
        ("zzz", "there is no task zzz; packaged are: category, review, sentiment; or name a .toml file"),
        ("../tasks/sentiment", "there is no task ../tasks/sentiment"),
        ("none.toml", "there is no task none.toml"),
    ],
)
def test_an_unknown_task_suggests_the_nearest_packaged_one(name: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        config.load_task(name)
    assert str(caught.value).startswith(words)


HEAD = 'name = "t"\ninstructions = "Say."\n'
CHOICE = '[[fields]]\ntype = "choice"\nname = "a"\nlabels = ["x", "y"]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "Invalid value"),
        (CHOICE, "Object missing required field `name`"),
        (HEAD + CHOICE.replace("choice", "choise"), "Invalid value 'choise' - at `$.fields[0].type`"),
        (HEAD + CHOICE + "colour = 1\n", "Object contains unknown field `colour` - at `$.fields[0]`"),
        (HEAD + CHOICE.replace('"a"', '"a b"'), "at `$.fields[0].name`"),
        (HEAD + CHOICE.replace('["x", "y"]', '["x", "x"]'), "the field a needs 2 to 255 different labels"),
        (HEAD + '[[fields]]\ntype = "text"\nname = "a"\n', "put a choice, score or predicate first"),
    ],
)
def test_a_wrong_file_says_where_and_why_and_shows_the_form(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        config.load_task(str(file))
    message = str(caught.value)
    assert message.startswith(f"{file}: not a valid task: ")
    assert words in message
    assert message.endswith("configs/tasks/README.md shows the form")


YES = Predicate(name="a")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (made(), "needs a field"),
        (made(YES, name=" "), "needs a name"),
        (made(YES, instructions=" \n"), "no instructions"),
        (made(YES, instructions="x" * 20_001), "20,001 characters, at most 20,000"),
        (made(Text(name="a")), "free text"),
        (made(YES, Text(name="A")), "two fields have one name"),
        (made(Predicate(name="Cluster")), "cluster would take the name of an output column"),
        (made(YES, Text(name="duplicate_of")), "duplicate_of would take the name of an output column"),
        (made(YES, Text(name="a_confidence")), "a_confidence would take the name of a column of the field a"),
        (made(Predicate(name="a_source"), YES), "a_source would take the name of a column of the field a"),
        (made(YES, Text(name="A_Cost_usd")), "a column of the field a"),
        (made(Score(name="s", low=3, high=3)), "high must be above low"),
        (made(Score(name="s", low=5, high=1)), "high must be above low"),
        (made(YES, Score(name="s", low=0, high=10**12)), "at most 255 levels"),
        (made(Choice(name="c", labels=("x",))), "2 to 255"),
        (made(Choice(name="c", labels=tuple(map(str, range(256))))), "2 to 255"),
        (made(Choice(name="c", labels=("x", " "))), "empty"),
        (made(Choice(name="c", labels=("x", "y "))), "ends in a space"),
        (made(Choice(name="c", labels=("x", "y\n"))), "does not print"),
        (made(Choice(name="c", labels=("x", "X"))), "differ in case alone"),
        (made(Choice(name="c", labels=("x", "y" * 101))), "more than 100 characters"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: Task, words: str) -> None:
    assert words in (task.problem(wrong) or "no problem")


def test_aliases_of_no_label_are_refused() -> None:
    wrong = Task(name="t", instructions="Say.", fields=(Choice(name="c", labels=("x", "y")),), aliases={"z": ("q",)})
    assert task.problem(wrong) == "aliases: 'z' is no label of c (x, y)"


def test_the_limits_themselves_are_allowed() -> None:
    right = made(
        Choice(name="c", labels=tuple(map(str, range(255)))),
        Score(name="s", low=0, high=254),
        Predicate(name="confidence"),
        instructions="x" * 20_000,
    )
    assert task.problem(right) is None


def test_a_question_with_labels_is_a_task_of_one_choice() -> None:
    asked = config.inline_task(" What is it about? ", "billing, shipping ,other")
    assert (asked.field.name, asked.labels) == ("answer", ("billing", "shipping", "other"))
    assert asked.instructions == "What is it about?"
    assert re.fullmatch(r"ask-[0-9a-f]{8}", asked.name)
    assert task.problem(asked) is None


WORD = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6)


@given(st.tuples(WORD, WORD, WORD), st.tuples(WORD, WORD, WORD))
def test_another_question_or_other_labels_are_another_task(
    one: tuple[str, str, str], two: tuple[str, str, str]
) -> None:
    names = []
    for question, first, second in (one, two):
        if first.casefold() == second.casefold():
            return
        names.append(config.inline_task(question, f"{first},{second}").name)
    assert (names[0] == names[1]) == (one == two)


@pytest.mark.parametrize("given_labels", ["", "a", "a,", ",a", "a,,b", "a,a", "a,A", "a, a "])
def test_a_question_without_two_different_labels_is_refused_with_an_example(given_labels: str) -> None:
    with pytest.raises(UsageError, match="example: --ask 'What is the complaint about"):
        config.inline_task("What?", given_labels)


def test_labels_without_a_question_are_refused() -> None:
    with pytest.raises(UsageError, match="--ask: there is no question"):
        config.inline_task("  ", "a,b")
