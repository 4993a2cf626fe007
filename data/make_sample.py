"""Writes the packaged sample: synthetic reviews of an invented shop, with every difficulty of a real table planted.

Nothing here was written by a customer. Most reviews are composed from the phrases in `sample_phrases.toml`; the
ones in `sample_whole.toml` are hand-written whole. The same seed gives the same rows: `python data/make_sample.py`.
"""

from __future__ import annotations

import random
import re
import tomllib
import unicodedata
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

FOLDER = Path(__file__).parent
SEED = 20261121
FIRST_DAY = date(2024, 1, 1)
N_DAYS = 1000
SCHEMA = pl.Schema(
    {
        "review_id": pl.String,
        "title": pl.String,
        "review_text": pl.String,
        "rating": pl.Int64,
        "brand": pl.String,
        "category": pl.String,
        "date": pl.Date,
    }
)
# Stars of the composed reviews; with the hand-written ones and the copies the table has the shares of a real shop.
N_COMPOSED = {5: 192, 4: 50, 3: 19, 2: 12, 1: 18}
N_VERBATIM, N_RESTYLED, N_UNRATED = 36, 12, 6
EMPTY_REVIEWS = ((None, None), (None, ""), (None, "   "), (None, "\n\t"), (None, None), ("Great", ""))
# What a sentence may begin with and keep its capital in the middle of another one.
KEEPS_CAPITAL = re.compile(r"I\b|Bluetooth|Scottish|[A-Z]{2}|The XL")

Row = dict[str, Any]
Phrases = dict[str, Any]


def compared(row: Row) -> str:
    """Title and text in the form in which two rows of the sample count as copies: NFKC, case and spaces dropped."""
    joined = f"{row['title'] or ''}\n{row['review_text'] or ''}"
    return " ".join(unicodedata.normalize("NFKC", joined).casefold().split())


def inside(sentence: str) -> str:
    """The sentence as it reads after a comma: its first letter small, unless it is a name or an "I"."""
    return sentence if KEEPS_CAPITAL.match(sentence) else sentence[0].lower() + sentence[1:]


def body(stars: int, of_stars: Phrases, item: Phrases, rng: random.Random) -> str:
    """One review text of 1 to 6 sentences with `{item}`, `{brand}`, `{n}` and `{p}` still to fill in."""
    if rng.random() < 0.24:
        return str(rng.choice(of_stars["short"]))
    good, bad = rng.sample(item["good"], 3), rng.sample(item["bad"], 3)
    opening, closing = rng.choice(of_stars["open"]), rng.choice(of_stars["close"])
    n_details = rng.choice((1, 1, 2, 2, 3))
    mixed = f"{good[0].rstrip('.!')}, but {inside(bad[0])}"
    if stars == 3:
        both = (
            mixed,
            f"On the plus side, {inside(good[0])} On the other hand, {inside(bad[0])}",
            f"{bad[0]} {good[0]}",
        )
        parts = [opening, rng.choice(both), closing]
    elif stars == 4:
        parts = [opening, *good[:n_details], rng.choice(("", "Only complaint: ", "Just so you know: ")), closing]
        minor = rng.choice(item["minor"])
        parts[-2] = f"{parts[-2]}{inside(minor) if parts[-2] else minor}"
    elif stars == 5:
        parts = [opening, *good[:n_details], closing]
    else:
        parts = [opening, *bad[:n_details], closing]
        if stars == 2 and rng.random() < 0.5:
            parts[1:1] = [f"{good[0].rstrip('.!')}, I'll give them that."]
    dropped = rng.random()
    return " ".join(parts[1:] if dropped < 0.25 else parts[:-1] if dropped < 0.55 else parts)


def restyled(text: str, stars: int, style: Phrases, rng: random.Random) -> str:
    """The text as people type: with a typo, in small or big letters, with an emoji or slang; most stay as they are."""
    mood = "good" if stars >= 4 else "bad"
    roll = rng.random()
    if roll < 0.12:
        found = [word for word in style["typos"] if word in text]
        text = text.replace(found[0], style["typos"][found[0]]) if found else text.replace(". ", " .", 1)
    elif roll < 0.22:
        text = text.lower().replace("'", "").rstrip(".")
    elif roll < 0.27:
        text = text.upper()
    elif roll < 0.37 and stars != 3:
        text = f"{text} {rng.choice(style['emoji_' + mood]) * rng.choice((1, 1, 2, 3))}"
    elif roll < 0.43 and stars != 3:
        text += rng.choice(style["slang_" + mood])
    elif roll < 0.48:
        text = text.replace(".", "..." if stars <= 3 else "!")
    return text


def make_row(
    phrases: Phrases, item_name: str, rng: random.Random, *, stars: int, title: str | None, text: str | None
) -> Row:
    """A row without its id, of a random brand of the item's category and a random day."""
    category = phrases["items"][item_name]["category"]
    return {
        "title": title or None,
        "review_text": text,
        "rating": stars,
        "brand": rng.choice(phrases["brands"][category]),
        "category": category,
        "date": FIRST_DAY + timedelta(days=rng.randrange(N_DAYS)),
    }


def load_phrases(file_name: str) -> Phrases:
    """One of the two files of phrases beside this one."""
    return tomllib.loads((FOLDER / file_name).read_text(encoding="utf-8"))


def composed(phrases: Phrases, rng: random.Random, taken: set[str]) -> list[Row]:
    """Reviews made of phrases, all different from each other and from `taken` as `compared` sees them."""
    rows: list[Row] = []
    for stars, n_reviews in N_COMPOSED.items():
        of_stars = phrases["stars"][str(stars)]
        wanted = len(rows) + n_reviews
        while len(rows) < wanted:
            name, item = rng.choice(list(phrases["items"].items()))
            title = rng.choice(of_stars["titles"]) if rng.random() < 0.72 else None
            row = make_row(phrases, name, rng, stars=stars, title=title, text=None)
            filled = {
                "item": name,
                "brand": row["brand"],
                "n": rng.randint(2, 9),
                "p": rng.choice((12, 19, 25, 39, 60)),
            }
            text = body(stars, of_stars, item, rng).format(**filled)
            row["review_text"] = restyled(text, stars, phrases["style"], rng)
            if compared(row) not in taken:
                taken.add(compared(row))
                rows.append(row)
    return rows


def hand_written(phrases: Phrases, rng: random.Random) -> list[Row]:
    """The whole reviews and the near-copy pairs, with their kind."""
    whole = load_phrases("sample_whole.toml")
    rows = [
        make_row(phrases, one["item"], rng, stars=one["rating"], title=one["title"], text=one["text"])
        | {"kind": one["kind"]}
        for one in whole["review"]
    ]
    for pair in whole["near"]:
        for stars, text in zip(pair["ratings"], pair["texts"], strict=True):
            rows.append(
                make_row(phrases, pair["item"], rng, stars=stars, title=None, text=text)
                | {"kind": f"near_{pair['kind']}"}
            )
    return rows


def full_width(text: str) -> str:
    """The text in full-width characters, which NFKC folds back."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def copies(rows: list[Row], rng: random.Random) -> list[Row]:
    """Copies of randomly drawn rows: most character by character, the rest in other case, spaces or widths.

    A copy has a date of its own and its original's stars.
    """
    # Short praise is what real shops repeat most, so it is drawn three times as often.
    weights = [3 if len(row["review_text"]) < 30 else 1 for row in rows]
    ways = (str.upper, str.lower, full_width, lambda text: "  " + text.replace(" ", "  "))
    made = []
    for i, original in enumerate(rng.choices(rows, weights, k=N_VERBATIM + N_RESTYLED)):
        copy = original | {"date": FIRST_DAY + timedelta(days=rng.randrange(N_DAYS)), "kind": "copy_verbatim"}
        if i >= N_VERBATIM:
            way = ways[i % len(ways)]
            changed = way(original["review_text"])
            changed = full_width(original["review_text"]) if changed == original["review_text"] else changed
            copy |= {"review_text": changed, "kind": "copy_restyled"}
        made.append(copy)
    return made


def sample() -> tuple[pl.DataFrame, dict[str, int]]:
    """The table in its final order, and how many rows of each kind were planted in it."""
    rng = random.Random(SEED)
    phrases = load_phrases("sample_phrases.toml")
    whole = hand_written(phrases, rng)
    normal = composed(phrases, rng, {compared(row) for row in whole})
    empty = [
        make_row(phrases, "kettle", rng, stars=rng.choice((5, 5, 1)), title=title, text=text) | {"kind": "empty"}
        for title, text in EMPTY_REVIEWS
    ]
    rows = normal + whole + empty + copies(normal, rng)
    rng.shuffle(rows)
    unrated = rng.sample([row for row in rows if "kind" not in row], N_UNRATED)
    for row in unrated:
        row |= {"rating": None, "kind": "unrated"}
    for number, row in enumerate(rows, start=1):
        row["review_id"] = "007" if number == 7 else f"R-{number:04d}"
    planted = Counter(row.get("kind", "composed") for row in rows)
    return pl.DataFrame(rows, schema=SCHEMA), dict(sorted(planted.items()))


def main() -> None:
    """Writes `sample_reviews.parquet` beside this file and prints what it holds."""
    table, planted = sample()
    table.write_parquet(FOLDER / "sample_reviews.parquet", compression="zstd", statistics=False)
    print(f"{table.height} synthetic reviews: {planted}")


if __name__ == "__main__":
    main()
