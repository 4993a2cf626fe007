"""Measures what streams, gzip and a vendor's prompt cache save: tokens paid twice, bytes on the wire, USD, and CPU.

    python tests/benchmarks/streaming.py --mock PATH               # every case; about five minutes
    python tests/benchmarks/streaming.py --mock PATH --cases cut   # one of them, kept only with --output

The endpoint is simulated and on loopback (`asking_endpoint.py`): its breaks are made, its tokens are bytes / 4, and its
prompt cache is one of 1,024 tokens and more, in steps of 128. The reviews of `cut` and `cpu` are made, fifteen words
each; those of `cache` and `gzip` are real. The endpoint that knows gzip is the one of the tests.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asking_endpoint
import machine
import reuse
import speed
from asking_cases import Bench, made
from asking_endpoint import MODEL, Endpoint

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "streaming.json"
STEPS = HERE / "streaming_steps.py"
ROWS, TABLE = 5_000, "amazon_10k"
DROP_MID, LATENCY_MS, THREADS = 0.1, 200, 8
PRICE = {"price_in": 0.1, "price_cached": 0.01, "price_out": 0.4}
CACHED = "price = { input_usd = 0.10, output_usd = 0.40, cached_usd = 0.01 }"
# What the cache's price is not told of is never padded.
NOT_CACHED = "price = { input_usd = 0.10, output_usd = 0.40 }"
LEVELS = (1, 3, 4, 6, 9)

Figures = dict[str, Any]
TARGETS: tuple[reuse.Target, ...] = (
    ("cut", "streamed.tokens_paid_twice_a_break", "<", "plain.tokens_paid_twice_a_break"),
    ("cut", "streamed.kept_by_nobody", "==", 0),
    ("cache", "schema_first.padded.billed_usd", "<", "schema_first.off.billed_usd"),
    ("gzip", "packed.sent_wire_share", "<", 0.6),
)


def cut(bench: Bench) -> Figures:
    """Reviews of which every tenth reply breaks off, with streams and without, and how it would be without breaks.

    Which ones do is drawn by the requests' bytes, which are shuffled anew in each run: compare by the break.
    """
    table = made(bench, bench.scaled(ROWS))
    breaks = {"latency_ms": LATENCY_MS, "rate_drop_mid": DROP_MID}
    whole = labelled(bench, table, {"latency_ms": LATENCY_MS}, "stream = false", NOT_CACHED)
    figures: Figures = {"endpoint": breaks, "without_breaks": whole}
    for name, line in (("plain", "stream = false"), ("streamed", "stream = true")):
        found = labelled(bench, table, breaks, line, NOT_CACHED)
        found["tokens_paid_twice"] = found["billed_tokens"] - whole["billed_tokens"]
        n_breaks = max(1, found["broken_replies"])
        found["tokens_paid_twice_a_break"] = round(found["tokens_paid_twice"] / n_breaks, 1)
        found["reviews_asked_again_a_break"] = round(found["reviews_asked_again"] / n_breaks, 1)
        figures[name] = found
    return figures


def labelled(bench: Bench, table: Path, options: Figures, *lines: str, flags: tuple[str, ...] = ()) -> Figures:
    """One whole command on a fresh endpoint, with these lines in the model's settings: its figures and the endpoint's.

    `kept_by_nobody` stood complete in a reply that broke off, and were asked again all the same.
    """
    with tempfile.TemporaryDirectory(dir=bench.scratch) as name:
        folder = Path(name)
        with Endpoint(bench.mock, options) as endpoint:
            settings = folder / "settings.toml"
            head = [f"[models.{MODEL}]", 'model = "small"', f'base_url = "{endpoint.url}"', "simulated = true"]
            pack = ["[pack]", 'tune = "off"', "[ask]", f"threads = {THREADS}", "cooldown_s = 0.1"]
            settings.write_text("\n".join([*head, *lines, *pack]) + "\n", encoding="utf-8")
            argv = [sys.executable, "-m", "reviewopt", "process", str(table), "--model", MODEL, "--yes", "--quiet"]
            argv += ["--config", str(settings), "--home", str(folder / "home"), "-o", str(folder / "labels.parquet")]
            took = speed.run([*argv, "--force", *flags], folder)
            stats = stats_of(endpoint.url)
        record = json.loads(max(folder.glob("home/runs/*/run.json")).read_text(encoding="utf-8"))
    asked, counts = record["asked"], stats["counts"]
    sizes = {int(n): count for n, count in stats["reviews_per_request"].items()}
    return {
        "rows": record["n_rows"],
        "wall_s": took.wall_s,
        "cpu_s": took.cpu_s,
        "cpu_ms_a_request": round(1000 * took.cpu_s / asked["n_requests"], 3),
        "requests": counts["chat"],
        "pack_sizes": len(sizes),
        "broken_replies": counts.get("fault_drop_mid", 0),
        "reviews_asked_again": asked["n_asked_again"],
        "kept_of_cut": asked["n_kept_of_cut"],
        "spoiled_reviews": stats["spoiled_reviews"],
        "extra_answers": stats["extra_answers"],
        "complete_in_cut": stats["complete_in_cut"],
        "kept_by_nobody": stats["complete_asked_again"],
        "input_tokens": stats["prompt_tokens"],
        "cached_tokens": asked["tokens"]["cached"],
        "cached_share": round(asked["tokens"]["cached"] / max(1, asked["tokens"]["input"]), 4),
        "output_tokens": stats["completion_tokens"],
        "billed_tokens": stats["prompt_tokens"] + stats["completion_tokens"],
        "billed_usd": stats["billed_usd"],
        "ledger_usd": float(asked["spent_usd"]),
        "reserved_for_what_nobody_knows_usd": float(asked["no_reply_usd"]),
        "cache_saved_usd": None if asked["cache_saved_usd"] is None else float(asked["cache_saved_usd"]),
    }


def stats_of(url: str) -> Figures:
    """Every counter of the simulated endpoint."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback goes through no proxy
    with opener.open(url.removesuffix("/v1") + "/_mock/stats", timeout=10) as reply:
        stats: Figures = json.load(reply)
    return stats


def cpu(bench: Bench) -> Figures:
    """CPU of composing, asking and reading a request of 25 reviews on one thread, with streams and without."""
    figures: Figures = {"reviews_a_request": 25, "endpoint": {"latency_ms": 0}}
    for logprobs in (True, False):
        for stream in (True, False):
            name = f"{'logprobs' if logprobs else 'bare'}_{'streamed' if stream else 'plain'}"
            with Endpoint(bench.mock, {"latency_ms": 0}) as endpoint:
                given = {"url": endpoint.url, "logprobs": logprobs, "stream": stream, "requests": bench.scaled(100)}
                figures[name] = own_step(bench, "ask", **given)
    return figures


def cache(bench: Bench) -> Figures:
    """Reviews at a price a tenth as high for cached tokens, with the schema before the messages and after them.

    `off`: nothing is done for the cache. `keyed`: requests name their beginning. `padded`: the instructions are made
    long enough as well, and packs come in few sizes. `short` are made reviews, `singly` one review a request.
    """
    table, short = bench.data / f"{TABLE}.parquet", made(bench, bench.scaled(ROWS))
    many, few = ("--limit", str(bench.scaled(ROWS))), ("--limit", str(bench.scaled(500)), "--pack-size", "1")
    last = {"latency_ms": LATENCY_MS, **PRICE}
    first = last | {"schema_first": True}
    off, padded = ("prompt_cache = false", CACHED), ("prompt_cache = true", CACHED)
    return {
        "table": TABLE,
        "endpoint": {"schema_first": first, "schema_last": last},
        "schema_first": {
            "off": labelled(bench, table, first, *off, flags=many),
            "keyed": labelled(bench, table, first, "prompt_cache = true", NOT_CACHED, flags=many),
            "padded": labelled(bench, table, first, *padded, flags=many),
        },
        "schema_last": {
            "off": labelled(bench, table, last, *off, flags=many),
            "padded": labelled(bench, table, last, *padded, flags=many),
        },
        "short": {"off": labelled(bench, short, first, *off), "padded": labelled(bench, short, first, *padded)},
        "singly": {
            "off": labelled(bench, table, first, *off, flags=few),
            "padded": labelled(bench, table, first, *padded, flags=few),
        },
    }


def gzip(bench: Bench) -> Figures:
    """Requests of 25 real reviews to an endpoint that knows gzip: bytes of bodies, bytes on the wire, our own CPU."""
    table = bench.data / f"{TABLE}.parquet"
    figures: Figures = {}
    argv = [sys.executable, str(HERE.parent / "endpoint.py"), "--gzip", "1"]
    for name, compress in (("plain", False), ("packed", True)):
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            given = {"url": url, "table": table, "compress": compress, "requests": bench.scaled(200)}
            figures[name] = own_step(bench, "wire", **given)
        finally:
            process.terminate()
            process.communicate()
    figures["levels"] = own_step(bench, "levels", table=table, levels=LEVELS, requests=bench.scaled(200))
    figures["zlib"] = zlib.ZLIB_RUNTIME_VERSION
    return figures


def own_step(bench: Bench, name: str, **options: Any) -> Figures:
    """Runs a step of streaming_steps.py in a process of its own."""
    answer = bench.scratch / "step.json"
    given = json.dumps(options | {"answer": str(answer)}, default=str)
    speed.run([sys.executable, str(STEPS), name, given], bench.scratch)
    figures: Figures = json.loads(answer.read_text(encoding="utf-8"))
    return figures


CASES: dict[str, Callable[[Bench], Figures]] = {"cut": cut, "cpu": cpu, "cache": cache, "gzip": gzip}


def measured(bench: Bench, names: list[str]) -> Figures:
    """The whole result, as it is written."""
    before, found = machine.described(), {}
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr)
        try:
            found[name] = CASES[name](bench)
        except speed.CommandFailedError as error:
            found[name] = {"failed": str(error)}
    return {
        "schema_version": machine.SCHEMA_VERSION,
        "date": machine.today(),
        "command": shlex.join([Path(sys.argv[0]).name, "--cases", ",".join(names)]),
        "simulated": True,
        "note": asking_endpoint.NOTE,
        "trial_scale": bench.scale,
        "machine": before,
        "versions": machine.versions(("reviewopt", "urllib3", "msgspec")),
        "cases": found,
        "targets": reuse.judged(found, TARGETS),
    }


def main() -> int:
    """Reads the command line, measures, writes the JSON, prints it; 1 if a target is missed or not measured."""
    parser = argparse.ArgumentParser(description="Measure streams, gzip and prompt caches; the endpoint is simulated.")
    asking_endpoint.add_option(parser)
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--data", type=Path, default=speed.DATA, help="folder of the review tables")
    parser.add_argument("--scale", type=float, help="a small trial with this share of the rows; only with --output")
    parser.add_argument("--output", type=Path, help=f"JSON file (default results/{RESULTS.name} for all cases)")
    args = parser.parse_args()
    names = args.cases.split(",")
    if unknown := set(names) - set(CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    path = args.output or (None if args.scale or names != list(CASES) else RESULTS)
    mock = asking_endpoint.script_of(parser, args.mock)
    with tempfile.TemporaryDirectory() as scratch:
        result = measured(Bench(mock, args.data, Path(scratch), 1, args.scale, skips_naive=True), names)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({"cases": result["cases"], "targets": result["targets"]}, indent=1))
    return 0 if all(row["met"] for row in result["targets"]) else 1


if __name__ == "__main__":
    sys.exit(main())
