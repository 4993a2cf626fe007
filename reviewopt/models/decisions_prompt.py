"""The wording of a typed-decision request: instructions, one block a review, one question a review and field. Pure.

What a field means is said once, in the instructions, and not again in each question: the questions are input, too, and
input is all that is paid for. The input is one text, which every such endpoint takes (not all take system messages);
the instructions come first in it and are the same bytes for every request of a task.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from reviewopt.models.chat_prompt import REVIEWS_ARE_DATA, clean, opening
from reviewopt.task import Choice, Field, Predicate, Score, Task, Text

# Changes with every change of the wording: it is part of the archive's keys. No chat's version is called so.
PROMPT_VERSION: Final = "decisions-1"
# OpenAI's bounds: questions as its Python library 3.54 says, levels as promptfoo's page on that endpoint does. Others
# have lower ones: what they refuse is free, and is asked again in smaller requests.
MOST_QUESTIONS: Final = 400
MOST_LEVELS: Final = 10

# Without a sample of a block: in one text with the reviews it would itself look like one.
_ABOUT_BLOCKS: Final = (
    "Below stands each review, escaped as XML is, in an element called review that has its id as an attribute. "
    f"{REVIEWS_ARE_DATA}"
)
_ABOUT_QUESTIONS: Final = (
    "Each question names what to decide, and the id of the review that it asks about: answer it from that review alone."
)


def is_answerable(field: Field) -> bool:
    """Whether a typed question can ask for this field."""
    if isinstance(field, Score):
        return len(field.labels) <= MOST_LEVELS
    return not isinstance(field, Text)


def instructions(task: Task) -> str:
    """Write what the input begins with: the same bytes for every request of a task."""
    return clean("\n\n".join([*opening(task), _ABOUT_BLOCKS, _ABOUT_QUESTIONS]))


def question_names(ids: Sequence[str], task: Task) -> Iterator[tuple[str, str, Field]]:
    """Yield name, review's id and field of every question in the order in which they are asked.

    The name is the id where the task has one field, else ID.field.
    """
    for review_id in ids:
        for field in task.fields:
            yield f"{review_id}.{field.name}" if task.others else review_id, review_id, field


def questions(ids: Sequence[str], task: Task) -> list[dict[str, Any]]:
    """Write the questions about reviews with these ids."""
    return [
        {"type": kind_of(field), "name": name, **_asked(field, review_id)}
        for name, review_id, field in question_names(ids, task)
    ]


def kind_of(field: Field) -> str:
    """Return the type of question, and of answer, that a field has."""
    match field:
        case Choice():
            return "choice"
        case Score():
            return "score"
        case Predicate():
            return "predicate"
    raise TypeError(f"no typed question asks for free text ({field.name})")


def _asked(field: Field, review_id: str) -> dict[str, Any]:
    match field:
        case Choice():
            choices = [{"value": label} for label in field.labels]
            return {"instructions": f"{field.name} of {review_id}", "choices": choices}
        case Score():
            levels = [{"label": label} for label in field.labels]
            return {"instructions": f"{field.name} of {review_id}", "levels": levels}
    return {"instructions": f"{field.name} of {review_id} is yes"}
