"""Draws the README's chart of what a certificate costs, from the results that are committed.

python tests/benchmarks/certificate_chart.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
TABLES: Final = {
    "calibrated": "calibrated scores",
    "overconfident": "overconfident scores",
    "step": "a step at the budget",
}
COLOURS: Final = {"perfect knowledge": "#9aa5b1", "reviewopt": "#2f7ed8", "BARGAIN 0.1.3": "#e08a3c"}
WIDTH, BAR, GAP, LEFT, RIGHT = 720, 18, 22, 190, 70


def main() -> None:
    power = json.loads((RESULTS / "certificate_power.json").read_text(encoding="utf-8"))
    (RESULTS / "certificate.svg").write_text(drawn(power), encoding="utf-8")


def drawn(power: dict[str, Any]) -> str:
    """The chart as SVG, readable on light and on dark."""
    shapes, y = [], 58
    span = WIDTH - LEFT - RIGHT
    for table in power["tables"]:
        shapes.append(text(16, y + 1.5 * BAR + 6, TABLES[table["table"]]))
        shares = {
            "perfect knowledge": table["perfect_share"],
            "reviewopt": table["ours"]["2000"]["share_mean"],
            "BARGAIN 0.1.3": table["bargain"]["share_mean"],
        }
        for name, share in shares.items():
            size = f'width="{span * share:.1f}" height="{BAR - 3}" rx="2"'
            shapes.append(f'<rect x="{LEFT}" y="{y}" {size} fill="{COLOURS[name]}"/>')
            shapes.append(text(LEFT + span * share + 6, y + BAR - 7, f"{100 * share:.1f} %"))
            y += BAR
        y += GAP
    rows = f"{power['n_rows']:,} simulated rows"
    title = f"Rows labelled by the reference to certify 95 % agreement at 95 % confidence ({rows})"
    legend = []
    for at, (name, colour) in enumerate(COLOURS.items()):
        x = LEFT + 170 * at
        box = f'<rect x="{x}" y="34" width="12" height="12" rx="2" fill="{colour}"/>'
        legend.append(box + text(x + 18, 44, name))
    style = "text{font:13px system-ui,sans-serif;fill:#24292f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n"
        + "\n".join([text(16, 20, title), *legend, *shapes])
        + "\n</svg>\n"
    )


def text(x: float, y: float, words: str) -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


if __name__ == "__main__":
    main()
