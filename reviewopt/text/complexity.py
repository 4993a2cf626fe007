"""How hard a review is to judge, from cues that can be counted: it decides how many reviews share a request.

Stands before `pack.py`: simple reviews make larger packs, complex ones smaller packs. Nothing here decides an answer.

The cues, each with the work that found it hard (`features` has the exact definitions):
- length: the longer a review, the more aspects and the more a label has to weigh. Counted in bytes, six a word: that is
  an English word with its space, and about a Chinese or Japanese word too.
- contrast ("but", "however"): turns the polarity of what stands before (Polanyi and Zaenen, "Contextual valence
  shifters", 2006; Hutto and Gilbert, "VADER", ICWSM 2014).
- negation: the most studied shifter (Wiegand et al., "A survey on the role of negation in sentiment analysis", 2010).
- questions: what is asked is not stated, so its polar words do not count (irrealis: Taboada et al., "Lexicon-based
  methods for sentiment analysis", Computational Linguistics 37, 2011).
- mixed polarity: praise and complaint in one review (thwarted expectations: Pang, Lee and Vaithyanathan, "Thumbs up?",
  EMNLP 2002).
- other scripts: models are weaker in them (Hu et al., "XTREME", ICML 2020).

Sentences, exclamation marks and digits were measured too and left out: on four tables of labelled reviews they told
nothing about errors, or told it in opposite directions.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

F32 = npt.NDArray[np.float32]

BYTES_A_WORD: Final = 6.0
# Of every script but Latin at least a third of the bytes, and of most half, are beyond one byte a character.
_SCRIPT_SCALE: Final = 2.0

# Words of the languages of configs/languages, and of Russian; all are looked for in every review, because to tell the
# language first costs more than the few false hits (Portuguese "no"). Chinese and Japanese stand apart: no spaces.
_CONTRAST: Final = (
    "but however although though yet except unfortunately despite nevertheless otherwise instead whereas "
    "aber jedoch allerdings obwohl trotzdem leider dennoch sondern mais cependant toutefois pourtant malgré "
    "pero aunque sino embargo lamentablemente però tuttavia sebbene purtroppo nonostante mas porém embora contudo "
    "infelizmente maar echter hoewel helaas toch но однако хотя зато"
)
_CONTRAST_CJK: Final = "但 不过 不過 然而 可是 虽然 雖然 けど けれど でも しかし ただし のに"
_NEGATION: Final = (
    "no not never nothing none nobody neither nor without cannot dont doesnt didnt isnt wasnt cant wont couldnt "
    "wouldnt nicht kein keine keinen nie niemals nichts ohne pas jamais rien sans aucun aucune nunca nada ningún "
    "ninguna sin non mai niente senza nessun não nao sem nenhum niet geen nooit niets zonder не нет ни без никогда"
)
_NEGATION_CJK: Final = "不 没 沒 无 無 ない ません なかった"
_PRAISE: Final = (
    "good great love loved loves excellent best nice perfect perfectly amazing awesome happy recommend beautiful "
    "wonderful comfortable fantastic gut gute super toll perfekt zufrieden bon bonne excellent parfait content "
    "bueno buena bien excelente perfecto feliz buono buona ottimo ottima perfetto bom boa ótimo ótima perfeito "
    "goed goede prima uitstekend tevreden хорошо хороший отлично отличный"
)
_PRAISE_CJK: Final = "好 喜欢 喜歡 满意 滿意 不错 良い いい 素晴らしい 満足"
_COMPLAINT: Final = (
    "bad poor poorly waste broke broken terrible disappointed disappointing disappointment horrible worst return "
    "returned cheap problem problems useless awful hate defective schlecht schlechte kaputt enttäuscht defekt problem "
    "mauvais mauvaise cassé déçu déçue problème malo mala roto decepcionado pésimo problema rotto deluso pessimo "
    "ruim quebrado péssimo slecht slechte kapot teleurgesteld плохо плохой ужасно сломался"
)
_COMPLAINT_CJK: Final = "差 坏 壞 失望 退货 退貨 垃圾 悪い 残念 壊れ"

# The sum behind a complexity. Fitted by logistic regression to the packaged classifier's errors on half of two tables
# of shop reviews (contrast .8 and 2.2, negation .3 and 1.2, a question .4 and 0, mixed .3 and .5), then rounded between
# the two. Chosen, not fitted: length, which told little about errors but much about what a request carries, and the
# script, for which no labelled table was at hand.
_LENGTH: Final = 0.35
_CONTRASTS: Final = 1.0
_NEGATIONS: Final = 0.5
_QUESTION: Final = 0.3
_MIXED: Final = 0.4
_SCRIPT: Final = 1.0
# Makes the packs of 10,000 Amazon reviews of mixed length (amazon_10k) 24.8 reviews on average for a `size` of 25.
_TYPICAL: Final = -2.95


def complexity(text: pl.Series) -> F32:
    """Rate how complex each review is, float32 (n,) in [0, 1]; at .5 it counts as one review in a pack.

    The logistic function of

        -2.95 + .35 ln(1 + words) + ln(1 + contrasts) + .5 ln(1 + negations) + .3 question + .4 mixed + script

    Measured against the packaged classifier on shop reviews that it never saw (amazon_10k): it is wrong on 5.1, 8.5,
    12.3, 13.5 and 18.2 % of the fifths from simple to complex (area under the curve .625).

    Args:
        text: String (n,), in any case; null counts as empty.
    """
    total = (
        _LENGTH * pl.col("words").log1p()
        + _CONTRASTS * pl.col("contrasts").log1p()
        + _NEGATIONS * pl.col("negations").log1p()
        + _QUESTION * pl.col("has_question")
        + _MIXED * pl.col("is_mixed")
        + _SCRIPT * pl.col("other_script_share")
        + _TYPICAL
    )
    rated = _lazy_features(text).select((1 / (1 + (-total).exp())).cast(pl.Float32)).collect()
    return rated.to_series().to_numpy()


def features(text: pl.Series) -> pl.DataFrame:
    """Count the cues, one row a review: what `complexity` adds up, for people who ask why.

    Returns:
        `words` (f64: bytes / 6), `contrasts` and `negations` (u32: words of the lists), `has_question` (a question mark
        of any script), `is_mixed` (words of praise and of complaint), `other_script_share` (f64 in [0, 1]: 0 for plain
        Latin script, about 1 for Chinese, Cyrillic or Arabic).
    """
    return _lazy_features(text).collect()


def _lazy_features(text: pl.Series) -> pl.LazyFrame:
    low, n_bytes = pl.col("text"), pl.col("n_bytes")
    beyond_ascii = (n_bytes - low.str.len_chars()) / n_bytes.clip(1)
    lowered = text.alias("text").to_frame().lazy().select(pl.col("text").fill_null("").str.to_lowercase())
    return lowered.with_columns(n_bytes=low.str.len_bytes().cast(pl.Float64)).select(
        words=n_bytes / BYTES_A_WORD,
        contrasts=low.str.count_matches(_pattern(_CONTRAST, _CONTRAST_CJK)),
        negations=low.str.count_matches(_pattern(_NEGATION, _NEGATION_CJK, "n['’]t")),
        has_question=low.str.contains("[?？؟]"),
        is_mixed=low.str.contains(_pattern(_PRAISE, _PRAISE_CJK))
        & low.str.contains(_pattern(_COMPLAINT, _COMPLAINT_CJK)),
        other_script_share=(_SCRIPT_SCALE * beyond_ascii).clip(0, 1),
    )


def _pattern(words: str, unspaced: str, *others: str) -> str:
    """A pattern for whole words of scripts with spaces, and for anything in `unspaced` wherever it stands.

    The ends of words are spelled out, because the fast matcher knows no boundaries beyond ASCII.
    """
    spaced = "|".join(sorted(set(words.split()), key=len, reverse=True))
    return "|".join((rf"(?:^|[ \n.,;:(\"])(?:{spaced})(?:$|[ \n.,;:!?)\"])", *unspaced.split(), *others))
