"""Tier 1 keeps what was used last."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from reviewopt.cache.memory import Held, Memory

STEPS = st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 12), max_size=6, unique=True)), max_size=30)


def held(number: int) -> Held:
    return Held(str(number), 0.5, 0)


@given(STEPS, st.integers(1, 8))
def test_it_is_least_recently_used_first_out(steps: list[tuple[bool, list[int]]], size: int) -> None:
    memory, model = Memory(size), OrderedDict[int, None]()
    for puts, numbers in steps:
        keys = [b"%d" % number for number in numbers]
        if puts:
            memory.put_many(zip(keys, map(held, numbers), strict=True))
        else:
            at, found = memory.get_many(keys)
            assert at == [place for place, number in enumerate(numbers) if number in model]
            assert [one.answer for one in found] == [str(numbers[place]) for place in at]
        for number in numbers:
            if puts or number in model:
                model[number] = None
                model.move_to_end(number)
        while len(model) > size:
            model.popitem(last=False)
        assert len(memory) == len(model)


def test_a_look_up_for_a_plan_marks_nothing_as_used() -> None:
    memory = Memory(2)
    memory.put_many([(b"a", held(1)), (b"b", held(2))])
    assert memory.get_many([b"a"], marks=False) == ([0], [held(1)])
    memory.put_many([(b"c", held(3))])
    assert memory.get(b"a") is None


def test_a_single_look_up_marks_as_used() -> None:
    memory = Memory(2)
    memory.put_many([(b"a", held(1)), (b"b", held(2))])
    assert memory.get(b"a") == held(1)
    memory.put_many([(b"c", held(3))])
    assert memory.get(b"b") is None
    assert memory.get(b"a") == held(1)
    memory.clear()
    assert memory.get(b"a") is None
