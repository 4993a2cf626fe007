"""The cases of `asking.py`: each asks made reviews in some way, and returns what that took.

A case starts a fresh endpoint and a process with a fresh home for every run. Figures of repeated runs are spreads.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asking_endpoint
import speed
from asking_endpoint import MODEL, Endpoint

HERE = Path(__file__).resolve().parent
TABLE = "amazon_10k"

THREADS = 128
RATE_PER_S, BURST_S = 100, 1
CONCURRENCY = 24
LIMITED_MS = 200
FAULTS = {"429": 0.1, "5xx": 0.1, "malformed": 0.05, "missing_ids": 0.05, "drop": 0.02}
# Threads, and as many requests as take some seconds at 50 ms each.
CPU_REQUESTS = {128: 10_000, 32: 5_000, 8: 1_500}
SMALL_CHUNK_ROWS = 4_096
TOLD_TOML = f"rpm = {60 * RATE_PER_S}\n"

Figures = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """The endpoint's script, the tables, where files may be written, runs of each measurement, share of a trial."""

    mock: Path
    data: Path
    scratch: Path
    n_runs: int
    scale: float | None
    skips_naive: bool

    def scaled(self, n: int, least: int = 50) -> int:
        """So many, or a trial's share of them."""
        return n if self.scale is None else max(least, round(self.scale * n))


Case = Callable[[Bench], Figures]


def made(bench: Bench, rows: int, *, first: int = 0, edited: int = 0) -> Path:
    """A table of made reviews."""
    output = bench.scratch / f"made_{first}_{rows}_{edited}.parquet"
    if not output.exists():
        step(bench.scratch, "make", rows=rows, first=first, edited=edited, output=output)
    return output


def step(folder: Path, name: str, **options: Any) -> tuple[speed.Run, Figures]:
    """Runs a step of asking_steps.py in a process of its own."""
    answer = folder / "step.json"
    given = json.dumps(options | {"answer": str(answer)}, default=str)
    took = speed.run([sys.executable, str(HERE / "asking_steps.py"), name, given], folder)
    figures: Figures = json.loads(answer.read_text(encoding="utf-8"))
    return took, figures


def label(folder: Path, url: str, table: Path, *flags: str, more_toml: str = "") -> Figures:
    """One whole command with the home in `folder`: what its process took, and what its record says."""
    settings = folder / "settings.toml"
    settings.write_text(asking_endpoint.settings_toml(url) + more_toml, encoding="utf-8")
    argv = [sys.executable, "-m", "reviewopt", "process", str(table), "--model", MODEL, "--config", str(settings)]
    argv += ["--home", str(folder / "home"), "-o", str(folder / "labels.parquet"), "--force", "--yes", "--quiet"]
    took = speed.run([*argv, "--allow-failures", *flags], folder)
    record = json.loads(max(folder.glob("home/runs/*/run.json")).read_text(encoding="utf-8"))
    asked, by_source = record["asked"], record["n_by_source"]
    return {
        "wall_s": took.wall_s,
        "cpu_s": took.cpu_s,
        "peak_rss_mb": took.peak_rss_mb,
        "rows": record["n_rows"],
        "lost": by_source["failed"],
        "answered_by_model": by_source[MODEL],
        "planned_requests": record["plan"]["n_requests"],
        "cpu_ms_a_request": round(1000 * took.cpu_s / asked["n_requests"], 4) if asked["n_requests"] else None,
        "ask_s": record["stage_s"]["ask"],
        "waited_s": asked["waited_s"],
    }


def labelled(bench: Bench, table: Path, options: Figures, *flags: str, more_toml: str = "") -> Figures:
    """One whole command on a fresh endpoint with these options: its figures and the endpoint's."""
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
        with Endpoint(bench.mock, options) as endpoint:
            figures = label(Path(folder), endpoint.url, table, *flags, more_toml=more_toml)
            seen = endpoint.figures()
        return figures | seen | {"endpoint_cpu_s": endpoint.cpu_s}


def repeated(n_runs: int, one: Callable[[], Figures]) -> Figures:
    """The spread of each figure over some runs; None where one of them did not measure it."""
    runs = [one() for _ in range(n_runs)]
    spreads: Figures = {"n_runs": n_runs}
    for name in runs[0]:
        values = [run[name] for run in runs]
        spreads[name] = None if None in values else {key: round(v, 4) for key, v in speed.spread(values).items()}
    return spreads


def faster(bench: Bench) -> Figures:
    """The default settings, beside one request a row from one thread, which is run once and not worked out."""
    rows, options = bench.scaled(5_000), {"latency_ms": 300}
    table = made(bench, rows)
    packed = repeated(bench.n_runs, lambda: labelled(bench, table, options))
    naive = None if bench.skips_naive else labelled(bench, table, options, "--naive", "--threads", "1")
    times = None if naive is None else round(naive["wall_s"] / packed["wall_s"]["median"], 1)
    return {"rows": rows, "endpoint": options, "packed": packed, "naive_one_thread": naive, "times_faster": times}


def cpu(bench: Bench) -> Figures:
    """CPU a request of one review: of the pool with its ledger, and of the whole command with archive and output."""
    options = {"latency_ms": 50}
    figures: Figures = {"endpoint": options}
    for name, logprobs in (("logprobs", True), ("plain", False)):
        figures[name] = {}
        for threads, n in CPU_REQUESTS.items():
            given = {"rows": bench.scaled(n), "threads": threads, "logprobs": logprobs}
            figures[name][f"{threads}_threads"] = repeated(bench.n_runs, partial(pooled, bench, options, given))
    table = made(bench, bench.scaled(CPU_REQUESTS[THREADS]))
    singly = ("--pack-size", "1", "--threads", str(THREADS))
    figures["whole_command"] = repeated(bench.n_runs, lambda: labelled(bench, table, options, *singly))
    return figures


def pooled(bench: Bench, options: Figures, given: Figures) -> Figures:
    """One run of the pool alone on a fresh endpoint."""
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
        with Endpoint(bench.mock, options) as endpoint:
            took, figures = step(Path(folder), "ask", url=endpoint.url, home=folder, **given)
            seen = endpoint.figures()
        figures |= {"peak_rss_mb": took.peak_rss_mb, "most_in_flight": seen["most_in_flight"]}
        return figures | {"endpoint_cpu_s": endpoint.cpu_s}


def limits(bench: Bench) -> Figures:
    """Singly at 128 threads against a rate limit, alone and two at once, and against a bound on requests at a time."""
    rows = bench.scaled(1_500, 300)
    rate = {"latency_ms": LIMITED_MS, "rpm": 60 * RATE_PER_S, "burst_s": BURST_S}
    at_once = {"latency_ms": LIMITED_MS, "max_concurrency": CONCURRENCY, "retry_after_s": LIMITED_MS / 1000}
    slow = at_once | {"retry_after_s": 1.0}
    table, other = made(bench, rows), made(bench, rows, first=rows)
    singly = ("--pack-size", "1", "--threads", str(THREADS))

    def limited(
        options: Figures, tables: tuple[Path, ...], allowed: Callable[[float], float], toml: str = ""
    ) -> Figures:
        return repeated(bench.n_runs, partial(together, bench, tables, options, singly, allowed, toml))

    return {
        "rows": rows,
        "endpoint": {"one_process": rate, "concurrency": at_once, "concurrency_waiting_1_s": slow},
        "one_process": limited(rate, (table,), by_rate),
        "one_process_told_the_limit": limited(rate, (table,), by_rate, TOLD_TOML),
        "two_processes": limited(rate, (table, other), by_rate),
        "concurrency": limited(at_once, (table,), by_concurrency),
        "concurrency_waiting_1_s": limited(slow, (table,), by_concurrency),
    }


def by_rate(seconds: float) -> float:
    """Requests that the rate limit allows so that the last is answered after so many seconds, the burst among them."""
    return RATE_PER_S * (BURST_S + seconds - LIMITED_MS / 1000)


def by_concurrency(seconds: float) -> float:
    """Requests that are answered in so many seconds if as many as allowed are always under way."""
    return CONCURRENCY * seconds / (LIMITED_MS / 1000)


def together(
    bench: Bench,
    tables: tuple[Path, ...],
    options: Figures,
    flags: tuple[str, ...],
    allowed: Callable[[float], float],
    toml: str,
) -> Figures:
    """Runs a command for each table at once on one endpoint, each with a home of its own; figures of all together.

    `rate_share` is what was answered of what was allowed in that time, `waste_share` requests that brought no answer
    by those that did, `lost` reviews that nothing answered.
    """
    with tempfile.TemporaryDirectory(dir=bench.scratch) as name:
        folders = [Path(name) / str(number) for number in range(len(tables))]
        for folder in folders:
            folder.mkdir()
        with Endpoint(bench.mock, options) as endpoint, ThreadPoolExecutor(len(tables)) as threads:
            runs = [
                threads.submit(label, folder, endpoint.url, table, *flags, more_toml=toml)
                for folder, table in zip(folders, tables, strict=True)
            ]
            ours = [run.result() for run in runs]
            seen = endpoint.figures()
    n_answered = seen["reviews_answered"]
    return {
        "rows": sum(one["rows"] for one in ours),
        "wall_s": max(one["wall_s"] for one in ours),
        "cpu_s": round(sum(one["cpu_s"] for one in ours), 3),
        "lost": sum(one["rows"] for one in ours) - n_answered,
        "rate_share": round(n_answered / allowed(seen["seconds"]), 4),
        "rate_per_s": round(n_answered / seen["seconds"], 1),
        "waste_share": round((seen["requests"] - n_answered) / n_answered, 4),
        **{name: seen[name] for name in ("requests", "limited", "seconds", "most_in_flight")},
    }


def tokens(bench: Bench) -> Figures:
    """Tokens that the endpoint bills for the same rows: one request a row, packs of 25, and default packs.

    The reviews' own text has to be sent: `most_savable_share` is what would be saved if nothing else were.
    """
    rows = bench.scaled(2_000)
    tables = {"short": made(bench, rows)}
    real = bench.data / f"{TABLE}.parquet"
    if real.exists():
        tables[TABLE] = real
    figures: Figures = {"rows": rows}
    ways = {"naive": ("--naive",), "packs_of_25": ("--pack-size", "25"), "default": ()}
    for name, table in tables.items():
        figures[name] = step(bench.scratch, "text_tokens", table=table, rows=rows)[1]
        naive_tokens = 0
        for way, flags in ways.items():
            one = labelled(bench, table, {"latency_ms": 5}, "--limit", str(rows), "--threads", "32", *flags)
            one["tokens"] = one["input_tokens"] + one["output_tokens"]
            one["tokens_a_row"] = round(one["tokens"] / one["rows"], 2)
            naive_tokens = naive_tokens or one["tokens"]
            figures[name][way] = one | {"saved_share": round(1 - one["tokens"] / naive_tokens, 4)}
        figures[name]["most_savable_share"] = round(1 - figures[name]["text_tokens"] / naive_tokens, 4)
    return figures


def faults(bench: Bench) -> Figures:
    """Some of each usual fault: what is labelled, what is paid for twice, and the requests that no fault forces.

    A fault forces one request more at most; what goes beyond the plan's requests and the faults is ours.
    """
    rows, options = bench.scaled(10_000), {"latency_ms": 50, "retry_after_s": 0.2, "fault": FAULTS}
    table = made(bench, rows)

    def one() -> Figures:
        figures = labelled(bench, table, options)
        needed = figures["planned_requests"] + figures["faulty"]
        share = figures["reviews_answered"] / rows
        return figures | {"labelled_share": round(1 - figures["lost"] / rows, 6), "answered_share": round(share, 6),
                          "requests_not_forced": figures["requests"] - needed,
                          "not_forced_share": round((figures["requests"] - needed) / needed, 4)}  # fmt: skip

    return {"rows": rows, "endpoint": options | {"fault": FAULTS}, **repeated(bench.n_runs, one)}


def memory(bench: Bench) -> Figures:
    """Peak memory of a small table and of one ten times its size, with chunks that are small for both, and by default.

    By default the large table fills a chunk and the small one does not: that difference is a chunk's, not the table's.
    """
    few, many, options = bench.scaled(5_000), bench.scaled(50_000), {"latency_ms": 2}
    figures: Figures = {"endpoint": options, "small_chunk_rows": SMALL_CHUNK_ROWS}
    for name, toml in (("small_chunks", f"[process]\nchunk_rows = {SMALL_CHUNK_ROWS}\n"), ("default_chunks", "")):
        peaks = []
        figures[name] = {}
        for size, rows in (("few", few), ("many", many)):
            one = partial(labelled, bench, made(bench, rows), options, more_toml=toml)
            figures[name][size] = repeated(min(bench.n_runs, 3), one)
            peaks.append(figures[name][size]["peak_rss_mb"]["median"])
        figures[name]["growth_share"] = round(peaks[1] / peaks[0] - 1, 4)
        figures[name]["growth_bytes_a_row"] = round(1e6 * (peaks[1] - peaks[0]) / (many - few), 1)
    return figures


CASES: dict[str, Case] = {
    "speed": faster,
    "cpu": cpu,
    "limits": limits,
    "tokens": tokens,
    "faults": faults,
    "memory": memory,
}
