"""The normal form of a review: what is compared, keyed and asked.

Two reviews are exact copies when their normal forms are equal: NFKC, full case folding, runs of white space as one
space, ends stripped (Unicode Standard Annex 15; NFKC_Casefold of chapter 3.13). The title stands before the text, with
a newline between: no normal form holds another newline, so the two fields never run into each other.
"""

from __future__ import annotations

import numpy as np
import polars as pl

NORMALISER_VERSION = 1

_TITLE_END = "\n"
_ROW_END = "\x1e"
# Characters that NFKC keeps and for which lower case is the full case folding: printable ASCII, the letters of Latin-1
# but for sharp s, usual quotes and dashes, rupee and euro, emoji. Rows with others (1 % of English reviews) are slow.
_PLAIN = r" -~¡£¥©®¿-Þàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ\u{200b}–—‘’“”•₹€\u{2600}-\u{27bf}\u{fe0f}\u{1f300}-\u{1faff}"
_UNUSUAL = rf"[^{_PLAIN}]|  "
_BEYOND_PLAIN = rf"[^{_PLAIN}\t-\r]"
# White space that NFKC leaves (Unicode's White_Space property), then runs of it: two passes are faster than one.
_SPACE = r"[\t-\r\u{85}\u{1680}\u{2028}\u{2029}]"
_SPACES = r"  +"


def normalise(title: pl.Series, text: pl.Series) -> pl.Series:
    """Give each review its normal form, `title + "\\n" + text`, or `text` alone where there is no title.

    Args:
        title: String (n_reviews,), null where a review has none.
        text: String (n_reviews,).

    Returns:
        String (n_reviews,), null where the text is null, empty or white space only: nothing to ask there.
    """
    body = normalise_field(text)
    blank = body.str.len_bytes() == 0
    if blank.any():
        body = body.set(blank, None)  # null in either field makes the form null
    parts = pl.DataFrame({"title": normalise_field(title), "body": body})
    with_title = pl.col("title").str.len_bytes() > 0
    before = pl.when(with_title).then(pl.concat_str("title", pl.lit(_TITLE_END))).otherwise("title")
    return parts.select(pl.concat_str(before, "body").alias("form")).to_series()


def normalise_field(field: pl.Series) -> pl.Series:
    """Fold one field; null becomes the empty string.

    Most rows hold plain characters and single spaces, for which lower case is enough; only the rest take the slow way.
    """
    folded = field.fill_null("").str.strip_chars(" ").str.to_lowercase()
    unusual = folded.str.contains(_UNUSUAL).arg_true()
    return folded.scatter(unusual, _fold_unusual(folded.gather(unusual))) if len(unusual) else folded


def _fold_unusual(folded: pl.Series) -> pl.Series:
    foreign = (folded.str.len_bytes() != folded.str.len_chars()).arg_true()
    foreign = foreign.filter(folded.gather(foreign).str.contains(_BEYOND_PLAIN))
    if len(foreign):
        folded = folded.scatter(foreign, _casefold(folded.gather(foreign)))
    return folded.str.replace_all(_SPACE, " ").str.replace_all(_SPACES, " ").str.strip_chars(" ")


def _casefold(field: pl.Series) -> pl.Series:
    """Fold case and compose again, until neither changes anything: each can make work for the other (U+03D2, U+1E9E).

    polars has no case folding and Python no fast NFKC; Python folds all rows in one call. Two rounds are enough for
    every character (tested on all of them); the bound keeps a later Unicode from looping.
    """
    normal = field.str.replace_all(_ROW_END, " ", literal=True).str.normalize("NFKC")
    for _ in range(4):
        folded = pl.Series(normal.str.join(_ROW_END).item().casefold().split(_ROW_END), dtype=pl.String)
        before, normal = normal, folded.str.normalize("NFKC")
        if normal.equals(before):
            break
    return normal


def keys(form: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Hash normal forms to 64 bits, uint64 (n_reviews,), for use within one run.

    polars' hash is not the same across its versions, so no key is ever stored. Two of n distinct texts share a key with
    a probability of about n^2 / 2^65: 7e-7 at five million.
    """
    return form.hash(seed=NORMALISER_VERSION).to_numpy()
