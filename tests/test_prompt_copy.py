"""The prompt's copy: what is no text goes, all text stays, and long texts keep their head and tail."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewopt import tokens
from reviewopt.text import prompt_copy, redact

if TYPE_CHECKING:
    import tiktoken

ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
# What occurs in reviews and means nothing to HTML: letters, digits, marks, punctuation, symbols, single spaces.
VISIBLE = st.characters(categories=["L", "N", "P", "S"], exclude_characters="<&")
PLAIN = st.lists(st.text(VISIBLE, min_size=1, max_size=8), max_size=8).map(" ".join)


def copies(*rows: str | None, titles: list[str | None] | None = None, redact: bool = False) -> list[str]:
    title = pl.Series(titles if titles is not None else [None] * len(rows), dtype=pl.String)
    made = prompt_copy.prompt_copy(title, pl.Series(rows, dtype=pl.String), redact=redact)
    assert made.dtype == pl.String
    assert made.null_count() == 0
    return made.to_list()


def copy(text: str | None, *, redact: bool = False) -> str:
    return copies(text, redact=redact)[0]


@given(st.lists(st.tuples(st.one_of(st.none(), ANY), st.one_of(st.none(), ANY)), max_size=8), st.booleans())
@settings(deadline=None)
def test_a_copy_is_the_same_alone_and_in_a_batch(rows: list[tuple[str | None, str | None]], masked: bool) -> None:
    together = copies(*(text for _, text in rows), titles=[title for title, _ in rows], redact=masked)
    assert together == [copies(text, titles=[title], redact=masked)[0] for title, text in rows]


@given(PLAIN)
@settings(deadline=None)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert copy(text) == text


@given(ANY)
@settings(deadline=None)
def test_no_copy_holds_what_people_cannot_see(text: str) -> None:
    made = copy(text)
    assert not set(made) & set("\0\x07\x1b\x1e\x7f\x85\x90\xad\u200b\u202e\u2066\ufeff\U000e0041\r\t\xa0\u3000\u2028")
    assert "  " not in made
    assert "\n\n" not in made
    assert made == made.strip(" \n")


@pytest.mark.parametrize(
    ("title", "text", "made"),
    [
        ("Great", "Works well", "Great\nWorks well"),
        (None, "Works well", "Works well"),
        (" \t", "Works", "Works"),
        ("Great", None, "Great"),
        ("Great", "<br>", "Great"),
        (None, None, ""),
        ("two\nlines", "a\nb", "two lines\na\nb"),
        ("<!--", "kept -->", "<!--\nkept -->"),
    ],
)
def test_the_title_stands_before_the_text(title: str | None, text: str | None, made: str) -> None:
    assert copies(text, titles=[title]) == [made]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("one<br>two<BR/>three<br />four", "one two three four"),
        ("un<b>believ</b>able", "unbelievable"),
        ('see <a href="http://x.y/?a=1&b=2" target=_blank>this</a>', "see this"),
        ("<p class='x'>one</p><p>two</p>", "one two"),
        ('<div\nid="a">x</div>', "x"),
        ("<input disabled>x", "x"),
        ("a<!-- hidden > text -->b", "a b"),
        ("a<script>if (a < b) { x() }</script>b", "a b"),
        ("a<STYLE type='text/css'>p > a { }</Style >b", "a b"),
        ("<!DOCTYPE html><html><body>x</body></html>", "x"),
        ("&lt;br&gt;x &lt;b&gt;bold&lt;/b&gt;", "x bold"),
        ("x &lt;script&gt;y()&lt;/script&gt;", "x"),
    ],
)
def test_elements_of_html_go(text: str, made: str) -> None:
    assert copy(text) == made


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "a <b and c> d",
        "I <3 this",
        "<3 <3",
        "if x<y then y>x",
        "<product> is <Brand>'s best",
        "5<10>3",
        "-> <- <--- --->",
        "<!-- never closed",
        "<",
        "mail <me@example.org>",
        "x <script never closed",
    ],
)
def test_angle_brackets_that_are_no_elements_stay(text: str) -> None:
    assert copy(text) == text


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("Tom &amp; Jerry&#39;s &quot;x&quot;", 'Tom & Jerry\'s "x"'),
        ("&#x2764;&#10084; &eacute;&nbsp;&hellip;", "❤❤ é …"),
        ("&amp;lt;", "&lt;"),
        ("AT&notes R&D; a&b & &", "AT&notes R&D; a&b & &"),
        ("&unknown; &#0; &#xD800; &#30;x", "&unknown; \ufffd \ufffd x"),
        ("a&#8238;b&#x200b;c", "abc"),
    ],
)
def test_entities_become_what_they_stand_for_once(text: str, made: str) -> None:
    assert copy(text) == made


def test_an_entity_of_a_control_character_does_not_shift_the_rows() -> None:
    assert copies("a&#30;b", "c&#x1e;d", "e&amp;f") == ["ab", "cd", "e&f"]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a\0b\x07c\x1b[0m", "abc[0m"),
        ("\ufeffword\u200b-\u00adbreak\u2060", "word-break"),
        ("abc \u202edef\u202c \u2066x\u2069", "abc def x"),
        ("don\x92t \x93quote\x94 \x81", "don’t “quote”"),
        ("hidden\U000e0049\U000e0067", "hidden"),
        ("a\u200db", "ab"),
        ("👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥", "👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥"),
        ("می\u200cخواهم क्\u200dष", "می\u200cخواهم क्\u200dष"),
        (
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f!",
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f!",
        ),
        ("Größe ÄÖÜ 日本語 Ünï", "Größe ÄÖÜ 日本語 Ünï"),
    ],
)
def test_invisible_characters_go_but_for_those_that_letters_and_emoji_need(text: str, made: str) -> None:
    assert copy(text) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a  b\t\tc\u3000d\xa0\xa0e", "a b c d e"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a \n\n \n b", "a\nb"),
        ("\n a \n", "a"),
        ("a\x85b\x0bc", "a b c"),
    ],
)
def test_runs_of_white_space_become_one(text: str, made: str) -> None:
    assert copy(text) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("write to jane.doe+x@mail.example.co.uk now", "write to [email] now"),
        ("Mail: MÜLLER@example.de.", "Mail: [email]."),
        ("邮箱abc@qq.com谢谢", "邮箱[email]谢谢"),
        ("call (555) 123-4567 or 555-123-4567, 1-800-555-1234", "call [phone] or [phone], [phone]"),
        ("+1 555 123 4567 10/10", "[phone] 10/10"),
        ("ring +44 20 7946 0958 / 0044 20 7946 0958", "ring [phone] / [phone]"),
        ("Tel. +49 (0)30 1234567, 0171 2345678", "Tel. [phone], [phone]"),
        ("appelez le 01 23 45 67 89 ou 01.23.45.67.89", "appelez le [phone] ou [phone]"),
        ("llame al +34 612 345 678", "llame al [phone]"),
        ("ligue +55 (11) 91234-5678", "ligue [phone]"),
        ("電話は03-1234-5678、090-1234-5678", "電話は[phone]、[phone]"),
        ("客服电话4008105666，手机13812345678", "客服电话[phone]，手机[phone]"),
        ("call me at 9876543210", "call me at [phone]"),
        ("my phone number is 555-1234", "my phone number is [phone]"),
        ("card 4111 1111 1111 1111 10/10", "card [card] 10/10"),
        ("5500-0000-0000-0004 378282246310005 4222222222222", "[card] [card] [card]"),
        ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN [iban] please"),
        ("GB82WEST12345698765432 FR1420041010050500013M02606", "[iban] [iban]"),
        ("NL91 ABNA 0417 1643 00 IS MINE", "[iban] IS MINE"),
    ],
)
def test_personal_data_is_masked_where_that_is_asked_for(text: str, made: str) -> None:
    assert copy(text, redact=True) == made
    assert copy(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "10/10 would buy again, 9.5/10, 5 out of 5",
        "paid $1,299.99, then 1.299,99 € and ₹12,999, ¥129800, £1000000",
        "ordered 1000000 on 2023-10-05 12:30:45, arrived 05.10.2023 10 Uhr, 10/05/2023",
        "01.02.2023 10:30, 01-02-2023, 2023年10月5日, 12082022",
        "between 2019 2020 2021 2022 and 2023-2024",
        "iPhone 14 Pro 128 256 512, WH-1000XM5, RTX 4090 24576, B07FZ8S74R",
        "EAN 9780306406157, order 112-3456789-1234567",
        "phone 12 mini, call 911, call of duty 3",
        "5 4 4 5 5 5 4 4 5 5 3 4 5",
        "1920x1080, 192.168.100.200, 1.2.3.4, v2.10.3, 3840-2160",
        "DE12 3456 is a part, AB12 3456 7890 1234 too",
        "4111 1111 1111 1112 fails its check",
        "IBAN DE88370400440532013000 fails its check",
        "part 555-123-4567-8, part 0171 2345678X, call 123456789-5",
        "follow @brand or me@home",
        "买了2个，价格199.99元，评分10/10，2022年",
    ],
)
def test_prices_dates_ratings_and_models_survive(text: str) -> None:
    assert copy(text, redact=True) == text


MONEY = st.builds("{}{:,.2f}".format, st.sampled_from("$€£₹¥"), st.floats(0, 10**9))
DATES = st.dates(dt.date(1950, 1, 1), dt.date(2049, 12, 31)).flatmap(
    lambda day: st.sampled_from(
        [day.strftime(form) for form in ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %m %Y", "%d-%m-%y")]
    )
)
RATINGS = st.builds("{}/{}".format, st.integers(0, 10), st.sampled_from([5, 10, 100]))
AMOUNTS = st.builds(
    "{} {}".format, st.integers(0, 99_999_999), st.sampled_from(["pieces", "Stück", "шт.", "個", "mAh"])
)
MODELS = st.from_regex(r"[A-Z]{2,4}-?[0-9]{2,5}[A-Z]?", fullmatch=True)


@given(st.lists(st.one_of(MONEY, DATES, RATINGS, AMOUNTS, MODELS), max_size=4).map(", ".join))
@settings(deadline=None)
def test_any_price_date_rating_amount_or_model_survives(text: str) -> None:
    assert copy(text, redact=True) == text


@given(st.text("0123456789", min_size=12, max_size=18).map(lambda tail: f"4{tail}"))
def test_a_card_is_masked_exactly_where_its_check_digit_is_right(digits: str) -> None:
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        total += digit if place % 2 == 0 else (2 * digit - 9 if digit > 4 else 2 * digit)
    assert (copy(f"x {digits} y", redact=True) == "x [card] y") == (total % 10 == 0)


def test_rows_without_personal_data_are_not_touched_by_redaction() -> None:
    rows = pl.Series(["plain", "a@b", "12"])
    assert redact.redacted(rows).to_list() == rows.to_list()


@pytest.fixture(scope="module")
def encoding(tmp_path_factory: pytest.TempPathFactory) -> tiktoken.Encoding:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path_factory.mktemp("vocabulary")))
        return tokens.open_encoding(Path())


def shorten(encoding: tiktoken.Encoding, text: str, most_tokens: int) -> tuple[str, int, bool]:
    texts, n_tokens, is_cut = prompt_copy.shorten([text], most_tokens=most_tokens, encoding=encoding)
    return texts[0], int(n_tokens[0]), bool(is_cut[0])


def test_short_texts_stay_and_long_ones_keep_head_and_tail(encoding: tiktoken.Encoding) -> None:
    long = " ".join(f"word{i}" for i in range(1000))
    texts, n_tokens, is_cut = prompt_copy.shorten(["good", long, ""], most_tokens=100, encoding=encoding)
    assert is_cut.tolist() == [False, True, False]
    assert (texts[0], texts[2]) == ("good", "")
    assert n_tokens.tolist() == tokens.count(encoding, texts).tolist()
    head, left, tail = texts[1].replace(" [... ", "|").replace(" tokens left out ...] ", "|").split("|")
    assert long.startswith(head)
    assert long.endswith(tail)
    n_head, n_tail = tokens.count(encoding, [head, tail]).tolist()
    assert abs(n_head - 2 * n_tail) <= 3
    assert abs(tokens.count(encoding, [long])[0] - n_head - n_tail - int(left)) <= 2
    assert 90 < n_tokens[1] <= 100


@given(
    text=st.text("aé好😀\u200d !9\n", max_size=400) | st.text("𓀀龘", min_size=100, max_size=300),
    most=st.integers(1, 60),
)
@settings(deadline=None, max_examples=60)
def test_a_cut_text_has_at_most_the_tokens_and_no_broken_character(
    encoding: tiktoken.Encoding, text: str, most: int
) -> None:
    made, n_tokens, is_cut = shorten(encoding, text, most)
    assert n_tokens <= most
    assert n_tokens == tokens.count(encoding, [made])[0]
    assert is_cut == (tokens.count(encoding, [text])[0] > most)
    assert "\ufffd" not in made
    head, _, rest = made.partition(" [... ")
    assert text.startswith(head)
    assert not rest or text.endswith(rest.partition(" left out ...] ")[2])


def test_counts_that_are_given_are_not_made_again(encoding: tiktoken.Encoding) -> None:
    counts = np.array([5, 500])
    texts, n_tokens, is_cut = prompt_copy.shorten(["a b", "c d"], counts, most_tokens=100, encoding=encoding)
    assert texts == ["a b", "c d"]
    assert n_tokens.tolist() == [5, 2]  # only what seemed too long is looked at
    assert is_cut.tolist() == [False, False]
    assert counts.tolist() == [5, 500]


@pytest.mark.parametrize(
    "run", ["a", " ", "\n", "!", "好", "😀", "7", "word ", "<br>", "&amp;", "4 ", "a@", "\u200d", "<a x='"]
)
def test_a_million_characters_of_one_kind_are_cut(encoding: tiktoken.Encoding, run: str) -> None:
    text = run * (1_000_000 // len(run))  # a million spaces overflow the stack of tiktoken's pattern
    made, n_tokens, is_cut = shorten(encoding, text, 1500)
    assert is_cut
    assert n_tokens <= 1500
    assert "tokens left out" in made
    assert len(copy(text, redact=True)) <= len(text)
