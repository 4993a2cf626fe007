"""The model card: the JSON beside the weights, and the same in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

_LIMITS = (
    "Neutral is hard: most neutral reviews are labelled negative or positive (see recall below).",
    "Stars are what people clicked; some contradict the text, so no model reaches 100 %.",
    "Confidence is calibrated for the mix of labels in the recipe; it drifts where a table's mix is far from it.",
    "Irony, comparisons between products and reviews of the delivery alone are often wrong.",
    "Languages other than those listed get a low confidence and `outside`.",
)


def write(told: Mapping[str, Any], output: Path, name: str) -> list[Path]:
    """Write `NAME.card.json` and `MODEL_CARD.md`; returns their paths."""
    whole = {**told, "limits": list(_LIMITS)}
    for_programs = output / f"{name}.card.json"
    for_programs.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")
    for_people = output / "MODEL_CARD.md"
    for_people.write_text(rendered(whole), encoding="utf-8")
    return [for_programs, for_people]


def rendered(told: Mapping[str, Any]) -> str:
    """The card in words, as Markdown."""
    lines = [
        f"# Model card: {told['name']}",
        "",
        f"Task: {told['task']}. Labels: {', '.join(told['labels'])}. Languages: {', '.join(told['languages'])}. "
        f"Weights: {told['weights']['bytes']:,} bytes, sha256 `{told['weights']['sha256']}`; "
        + ("rebuilt byte for byte." if told["weights"]["rebuilt_byte_for_byte"] else "not yet rebuilt."),
        "",
        "A linear softmax over hashed words and pairs of words, with the title as a field of its own; int8 weights.",
        f"Split: {told['split']['unit']}, seed {told['split']['seed']}; a tenth tests, a tenth validates.",
        "",
        "## Data",
        "",
        "| table | rows | held out | sha256 |",
        "|---|---|---|---|",
        *(
            f"| {table['file']} | {table['rows']:,} | {table['rows_held_out']:,} | `{table['sha256'][:16]}` |"
            for table in told["tables"]
        ),
        "",
        "No row of the tables is part of this project.",
        "",
        "## Figures on held-out reviews (95 % Wilson intervals)",
        "",
        "Distinct reviews of the tenth of each table that nothing was trained on; all rows of tables that were never",
        "trained on.",
        "",
        *_table(told["held_out"]),
    ]
    if told["benchmark"]:
        lines += ["", "## Transfer: models that never saw the table", "", *_table(told["benchmark"]["transfer"])]
        speed = told["benchmark"]["speed"]
        where = f"{speed['machine']['cpu']}, load {speed['machine']['load_1_min']}, {speed['date']}"
        lines += ["", f"Speed: {speed['reviews_per_s']:,} reviews/s on one core, best of {speed['rounds']} ({where})."]
        lines += [
            "",
            "Short sentences of our own that count as outside, by language: " + _outside(told["benchmark"]) + ".",
        ]
    lines += ["", "## How it was chosen", "", *(f"- {note}" for note in told["recipe"]["notes"])]
    return "\n".join([*lines, "", "## Limits", "", *(f"- {limit}" for limit in told["limits"]), ""])


def _outside(benchmark: Mapping[str, Any]) -> str:
    found = benchmark["outside"]["sentences"]
    return ", ".join(f"{language} {said['outside_share']:.0%} of {said['n']}" for language, said in found.items())


def _table(figures: Mapping[str, Any]) -> list[str]:
    head = [
        "| table | n | accuracy | macro-F1 | negative or positive | neutral recall | calibration error |",
        "|---|---|---|---|---|---|---|",
    ]
    return head + [
        f"| {name} | {said['n']:,} | {_share(said['accuracy'])} | {said['macro_f1']['value']:.3f} | "
        f"{_share(said['binary_accuracy'])} | {_share(said['recall']['neutral'])} | {said['calibration_error']:.3f} |"
        for name, said in figures.items()
    ]


def _share(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "no such rows"
    return f"{100 * found['value']:.1f} ({100 * found['low']:.1f}-{100 * found['high']:.1f})"
