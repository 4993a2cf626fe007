"""Made texts with near copies, in three scripts."""

import numpy as np
import polars as pl
from rapidfuzz import fuzz

RNG = np.random.default_rng
SYLLABLES = ("ba", "ko", "ri", "ten", "lu", "mos", "qua", "fi", "ner", "dy", "sha", "pol", "ex", "wim", "gu", "ost")
SCRIPTS = {
    "latin": SYLLABLES,
    "cyrillic": ("то", "вар", "ху", "же", "лу", "чше", "мы", "ще", "зна", "кра", "бо", "ги"),
    "chinese": tuple("好坏产品非常满意东西质量推荐购买老师方便快递服务价格便宜包装颜色尺寸舒服喜欢失望"),
}


def series(rows: list[str]) -> pl.Series:
    return pl.Series(rows, dtype=pl.String)


def text(seed: int, n_characters: int, script: str = "latin") -> str:
    rng, parts, space = RNG(seed), SCRIPTS[script], "" if script == "chinese" else " "
    made = ""
    while len(made) < n_characters:
        made += "".join(parts[i] for i in rng.integers(0, len(parts), rng.integers(1, 4))) + space
    return made[:n_characters]


def edited(original: str, seed: int, least: float = 88) -> str:
    """The text with words left out, put in or changed; its ratio is at least `least`."""
    rng = RNG(seed)
    for n_edits in (max(1, len(original) // 40), 1):
        letters = list(original)
        for _ in range(n_edits):
            at = int(rng.integers(0, len(letters)))
            letters[at : at + int(rng.integers(0, 4))] = text(seed, int(rng.integers(1, 4)))
        if fuzz.ratio(original, "".join(letters)) >= least:
            return "".join(letters)
    return original + "!"
