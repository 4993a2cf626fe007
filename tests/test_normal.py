from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from reviewopt.text import normal

# Lone surrogates cannot enter a polars column; what Python's Unicode does not know yet, polars' may.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=60)


def forms(titles: Sequence[str | None], texts: Sequence[str | None]) -> list[str | None]:
    return normal.normalise(pl.Series(titles, dtype=pl.String), pl.Series(texts, dtype=pl.String)).to_list()


def reference(text: str) -> str:
    """The definition, one text at a time and without any short cut."""
    while True:
        again = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        again = " ".join(again.split())
        if again == text:
            return text
        text = again


@given(st.lists(TEXT, min_size=1, max_size=8))
def test_a_normal_form_is_nfkc_case_folding_and_single_spaces(texts: list[str]) -> None:
    separators = str.maketrans(
        "\x1c\x1d\x1e\x1f", "    "
    )  # Python splits at these four, Unicode's White_Space does not
    field = pl.Series([text.translate(separators) for text in texts])
    assert normal.normalise_field(field).to_list() == [reference(text) for text in field]


@given(TEXT, TEXT)
def test_a_normal_form_is_its_own_normal_form(title: str, text: str) -> None:
    form = forms([title], [text])[0]
    if form is not None:
        head, _, body = form.rpartition("\n")
        assert forms([head], [body]) == [form]


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_a_row_does_not_depend_on_its_neighbours(rows: list[tuple[str, str]]) -> None:
    together = forms([title for title, _ in rows], [text for _, text in rows])
    assert together == [forms([title], [text])[0] for title, text in rows]


def test_case_width_and_white_space_make_no_difference() -> None:
    same = ["Great  BOOK", "great book", " great\tbook\n", "Ｇｒｅａｔ　ｂｏｏｋ", "great\u00a0book"]
    assert set(forms([None] * len(same), same)) == {"great book"}


def test_every_character_has_a_form_that_is_its_own_form() -> None:
    characters = pl.Series([f"a{chr(code)}b" for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF])
    once = normal.normalise_field(characters)
    assert normal.normalise_field(once).equals(once)


def test_sharp_s_and_final_sigma_fold_fully() -> None:
    assert forms([None, None], ["STRASSE ΣΑΣ", "straße σας"]) == ["strasse σασ"] * 2


def test_title_and_text_never_run_into_each_other() -> None:
    different = forms(["great", None, "great book", "a"], ["book", "great book", "x", "\nb"])
    assert different == ["great\nbook", "great book", "great book\nx", "a\nb"]


def test_empty_white_space_and_null_texts_have_no_form_even_with_a_title() -> None:
    assert forms(["t", "t", None, "t"], ["", " \t\n\u3000", None, None]) == [None] * 4


@given(st.lists(TEXT, min_size=2, max_size=2, unique=True))
def test_keys_differ_where_forms_differ(texts: list[str]) -> None:
    first, second = normal.keys(pl.Series(texts))
    assert first != second
