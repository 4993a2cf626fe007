"""The prompt's copy of a review: cleaned, and cut where it is very long. Case and wording stay as they are.

Stands between the table and the request. `normal.py` makes the form that is compared and keyed; this is the form that a
model reads. Most rows are plain and cost one look; what is done beyond that is done to the rows that need it.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from reviewopt.text.redact import redacted

if TYPE_CHECKING:
    import tiktoken

I64 = npt.NDArray[np.int64]

_ROW_END: Final = "\x1e"  # a control character: no cleaned text holds it

# Dropped wherever they stand: C0 controls, DEL, C1, soft hyphen, zero-width space, marks, embeddings, overrides and
# isolates of direction, invisible operators, BOM, annotations, and tags and variation selectors beyond the first plane,
# in which text can be hidden from people but not from a model.
_DROPPED: Final = (
    r"\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\x{61c}\x{180e}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}"
    r"\x{2060}-\x{206f}\x{feff}\x{fff9}-\x{fffb}\x{e0000}-\x{e0fff}"
)
# Joiners are letters' own in Persian and Indic scripts, and make one emoji of several: kept after anything from U+0600
# on. Tags are kept in the flags of England, Scotland and Wales.
_INVISIBLE: Final = (
    rf"(\x{{1f3f4}}[\x{{e0061}}-\x{{e007a}}]{{5}}\x{{e007f}}"
    rf"|[\x{{600}}-\x{{1dff}}\x{{2100}}-\x{{10ffff}}--{_DROPPED}][\x{{200c}}\x{{200d}}])|[{_DROPPED}\x{{200c}}\x{{200d}}]"
)
_ANY_INVISIBLE: Final = rf"[{_DROPPED}\x{{200c}}\x{{200d}}]"
_C1: Final = r"[\x80-\x84\x86-\x9f]"
_SPACE: Final = r"\t\x0b\x0c\x85\xa0\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}"
_SPACES: Final = rf"[{_SPACE}][ {_SPACE}]*| [ {_SPACE}]+"  # one space alone is no match: most are
_LINE_END: Final = r"\r\n|[\r\x{2028}\x{2029}]"
_ODD: Final = rf"[<&\r\x{{2028}}\x{{2029}}\x{{200c}}\x{{200d}}{_SPACE}{_DROPPED}]|  | \n|\n |\n\n|^[ \n]|[ \n]$"

# Elements of HTML, and Word's o:p. Those in a line leave nothing behind, all others a space.
_INLINE: Final = (
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|nobr|o:p|q|s|samp|small|span|"
    "strike|strong|sub|sup|time|tt|u|var|wbr"
)
_BLOCK: Final = (
    "address|area|article|aside|audio|base|blockquote|body|br|button|canvas|caption|center|col|colgroup|dd|details|"
    "dialog|div|dl|dt|embed|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|img|"
    "input|legend|li|link|main|map|menu|meta|nav|noscript|object|ol|optgroup|option|p|param|path|picture|pre|progress|"
    "script|section|select|source|style|summary|svg|table|tbody|td|template|textarea|tfoot|th|thead|title|tr|track|ul|video"
)
# An attribute has a value or is one of these words: "x <b and c> d" is no element.
_ATTRIBUTES: Final = (
    r"""(?:\s+(?:[a-z_:@][\w:.-]*\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>=`]+)|"""
    r"""allowfullscreen|async|autoplay|checked|controls|defer|disabled|hidden|loop|multiple|muted|noshade|nowrap|"""
    r"""readonly|required|selected))*\s*/?>"""
)
_HIDDEN: Final = (
    r"(?is)<!--.*?-->|<script\b[^>]*>.*?</script\s*>|<style\b[^>]*>.*?</style\s*>|<!doctype\b[^>]*>|<\?xml\b[^>]*>"
)
_INLINE_TAG: Final = rf"(?i)</?(?:{_INLINE}){_ATTRIBUTES}"
_BLOCK_TAG: Final = rf"(?i)</?(?:{_BLOCK}){_ATTRIBUTES}"
# Only with its semicolon: html.unescape alone reads "AT&notes" as "AT¬es".
_ENTITY: Final = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
_USUAL: Final = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#34;": '"', "&#39;": "'", "&nbsp;": " "}

# A text is encoded in slices of so many characters: tiktoken needs .45 s for a million times "a", and its pattern
# overflows the stack at a million spaces. Up to this length counts are exact; every slice beyond can add one.
# Changes whenever the same review would be written otherwise: it is part of the archive's keys.
PROMPT_COPY_VERSION: Final = 1
_SLICE_CHARS: Final = 20_000
# Of longer texts only so much a token is looked at from each end. English has 4-5 characters a token in o200k_base.
_CHARS_A_TOKEN: Final = 16
# No letter, digit, sign or symbol outside of tags and entities.
_PERHAPS_BLANK: Final = r"^(?:<[^>]*>|&#?\w+;|[\s\p{C}\p{M}])+$"
_MARKER: Final = " [... {} tokens left out ...] "


def prompt_copy(title: pl.Series, text: pl.Series, *, redact: bool) -> pl.Series:
    """Write each review as a model reads it, String (n,): title, line end, text; one alone where the other is empty.

    HTML elements, comments, scripts and styles go and entities become characters; "a < b and c > d" and "<3" stay.
    Control characters, byte order marks, invisible characters and overrides of direction go, but for the joiners of
    emoji and of scripts that need them. Runs of white space become one space, or one line end where they hold one.

    Args:
        title: String (n,), null where a review has none.
        text: String (n,); null counts as empty.
        redact: write [email], [phone], [card] and [iban] for what `redact.py` finds.
    """
    both = _where(pl.concat([title.rename("text"), text.rename("text")]).fill_null(""), _ODD, _clean)
    parts = pl.DataFrame(
        {"title": both[: len(title)].str.replace_all("\n", " ", literal=True), "text": both[len(title) :]}
    )
    is_both = (pl.col("title").str.len_bytes() > 0) & (pl.col("text").str.len_bytes() > 0)
    line_end = pl.when(is_both).then(pl.lit("\n")).otherwise(pl.lit(""))
    copy = parts.select(pl.concat_str("title", line_end, "text").alias("text")).to_series()
    return redacted(copy) if redact else copy


def blank(text: pl.Series) -> pl.Series:
    """Return the rows, UInt32, of which nothing is left in the prompt: markup and invisible characters alone."""
    rows = text.str.contains(_PERHAPS_BLANK).arg_true()
    few = text.gather(rows)
    left = prompt_copy(pl.repeat(None, len(few), dtype=pl.String, eager=True), few, redact=False)
    return rows.filter(left.str.len_bytes() == 0)


def shorten(
    texts: Sequence[str], n_tokens: I64 | None = None, *, most_tokens: int, encoding: tiktoken.Encoding
) -> tuple[list[str], I64, npt.NDArray[np.bool_]]:
    """Cut texts of more than `most_tokens` tokens to their head (two thirds) and tail, with a mark between.

    Args:
        texts: (n,).
        n_tokens: int64 (n,), where they have been counted; else they are counted here, which no text makes slow.
        most_tokens: a cut text has at most so many, the mark ` [... N tokens left out ...] ` among them; where not even
            that has room, only the head is kept.
        encoding: what tokens are.

    Returns:
        The texts, their tokens int64 (n,), and which were cut, bool (n,).
    """
    if n_tokens is None:
        n_tokens = np.fromiter((_count(encoding, text, most_tokens) for text in texts), np.int64, len(texts))
    kept, counts, is_cut = list(texts), n_tokens.astype(np.int64), n_tokens > most_tokens
    for at in np.flatnonzero(is_cut).tolist():
        kept[at], counts[at] = _cut(kept[at], most_tokens, encoding)
        is_cut[at] = kept[at] != texts[at]
    return kept, counts, is_cut


def _where(rows: pl.Series, pattern: str, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Change only the rows in which a pattern is found: to look is several times as fast as to replace."""
    at = rows.str.contains(pattern).arg_true()
    return rows.scatter(at, change(rows.gather(at))) if len(at) else rows


def _clean(odd: pl.Series) -> pl.Series:
    rows = _where(_visible(odd), "<", _without_tags)
    rows = _where(rows, _ENTITY, _unescaped)
    rows = _where(rows, _SPACES, lambda some: some.str.replace_all(_SPACES, " "))
    return _where(rows, "\n", lambda some: some.str.replace_all(r" ?\n[ \n]*", "\n")).str.strip_chars(" \n")


def _visible(rows: pl.Series) -> pl.Series:
    rows = _where(rows, _C1, lambda some: some.str.replace_many(*_windows_1252()))
    rows = _where(rows, _LINE_END, lambda some: some.str.replace_all(_LINE_END, "\n"))
    return _where(rows, _ANY_INVISIBLE, lambda some: some.str.replace_all(_INVISIBLE, "${1}"))


@functools.cache
def _windows_1252() -> tuple[list[str], list[str]]:
    """C1 controls in a review are quotes and dashes of Windows that were read as Latin-1."""
    meant = {chr(code): bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0) if code != 0x85}
    return list(meant), list(meant.values())


def _without_tags(rows: pl.Series) -> pl.Series:
    return rows.str.replace_all(_HIDDEN, " ").str.replace_all(_INLINE_TAG, "").str.replace_all(_BLOCK_TAG, " ")


def _unescaped(rows: pl.Series) -> pl.Series:
    """Read every entity once, all rows in one pass; what was escaped can be an element or invisible in its turn."""
    joined = rows.str.join(_ROW_END).item()
    characters = re.sub(_ENTITY, _character, joined)
    return _where(_visible(pl.Series(characters.split(_ROW_END), dtype=pl.String)), "<", _without_tags)


def _character(entity: re.Match[str]) -> str:
    return _USUAL.get(entity[0]) or html.unescape(entity[0])  # never a control character


def _ids(encoding: tiktoken.Encoding, text: str) -> list[int]:
    if len(text) <= _SLICE_CHARS:
        return encoding.encode_ordinary(text)
    slices = (text[at : at + _SLICE_CHARS] for at in range(0, len(text), _SLICE_CHARS))
    return [token for part in slices for token in encoding.encode_ordinary(part)]


def _count(encoding: tiktoken.Encoding, text: str, most_tokens: int) -> int:
    """Count the tokens; of a text that is too long in any case, estimate them."""
    looked_at = _CHARS_A_TOKEN * most_tokens
    if len(text) <= max(_SLICE_CHARS, 2 * looked_at):
        return len(_ids(encoding, text))
    n_head = len(_ids(encoding, text[:looked_at]))
    return max(most_tokens + 1, n_head * len(text) // looked_at)


def _cut(text: str, most_tokens: int, encoding: tiktoken.Encoding) -> tuple[str, int]:
    looked_at = _CHARS_A_TOKEN * most_tokens
    n_all = _count(encoding, text, most_tokens)
    is_huge = len(text) > max(_SLICE_CHARS, 2 * looked_at)
    head_ids = _ids(encoding, text[:looked_at] if is_huge else text)
    tail_ids = _ids(encoding, text[-looked_at:]) if is_huge else head_ids
    if not is_huge and len(head_ids) <= most_tokens:
        return text, len(head_ids)  # the caller's count was an estimate
    room = most_tokens - len(encoding.encode_ordinary(_MARKER.format(n_all)))
    while room > 0:
        n_tail = room // 3
        n_head = room - n_tail
        head, tail = (_decoded(encoding, ids) for ids in (head_ids[:n_head], tail_ids[len(tail_ids) - n_tail :]))
        shorter = f"{head}{_MARKER.format(max(1, n_all - room))}{tail}"
        n_tokens = len(_ids(encoding, shorter))
        if n_tokens <= most_tokens:
            return shorter, n_tokens
        room -= n_tokens - most_tokens  # characters cut at the edges can be tokens of their own
    head = _decoded(encoding, head_ids[:most_tokens])
    return head, len(_ids(encoding, head))


def _decoded(encoding: tiktoken.Encoding, ids: list[int]) -> str:
    """The text of tokens, less the characters of which only some bytes are in them."""
    return encoding.decode_bytes(ids).decode("utf-8", "ignore")
