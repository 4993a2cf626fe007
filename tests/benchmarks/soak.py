"""Labels without a break for half an hour against the endpoint for tests, and looks whether anything piles up.

    python tests/benchmarks/soak.py                   # 30 minutes
    python tests/benchmarks/soak.py --minutes 2       # the same, shorter; says less about memory

One run of the real command, in a process of its own, on distinct reviews with some of each usual fault, is interrupted
when the time is over: it must drain. Memory, threads and connections are looked at every second. Memory is compared
between the second tenth of the time, when everything is warm, and the last one. The figures go into
results/soak.json; the exit code is 1 where a bound is not held.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "soak.json"
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "faults")]

THREADS = 8
PACK = 10
REVIEWS_A_MINUTE = 10_000
FAULTS = {"429": 0.02, "500": 0.02, "503": 0.02, "drop": 0.01, "drop_mid": 0.01, "malformed": 0.02, "missing_ids": 0.02}
MOST_GROWTH = 0.05


@dataclass(frozen=True)
class Sample:
    """The process at one moment; `rss_mb` in 10^6 bytes."""

    at_s: float
    rss_mb: float
    n_threads: int
    n_files: int
    n_connections: int


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--minutes", type=float, default=30.0)
    minutes = flags.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        found = soak(Path(folder), minutes)
    broken = breaches(found)
    made = {"schema_version": machine.SCHEMA_VERSION, "date": machine.today(), "machine": machine.described()}
    RESULTS.write_text(json.dumps({**made, "minutes": minutes, **found, "breaches": broken}, indent=2) + "\n")
    print(json.dumps({**found, "breaches": broken}, indent=2))
    sys.exit(bool(broken))


def soak(folder: Path, minutes: float) -> dict[str, Any]:
    """Run for so many minutes, interrupt, and return what was seen."""
    from endpoint import Endpoint
    from paid import ended, prepare, start, texts_of

    n_reviews = int(minutes * REVIEWS_A_MINUTE * 2)  # more than can be done
    latency_ms = 1000 * THREADS * PACK / (REVIEWS_A_MINUTE / 60)
    with Endpoint(latency_ms=latency_ms, faults=FAULTS, retry_after_s=0.2) as endpoint:
        prepare(folder, endpoint, texts_of(n_reviews), settings={"ask.threads": THREADS, "pack.fixed": PACK})
        with start(folder, "--quiet") as running:
            samples = watched(running, minutes * 60, endpoint)
            running.send_signal(signal.SIGINT)
            stopped = ended(folder, running)
        n_open = endpoint.stats().n_open
    stats = endpoint.stats()
    return {
        "exit_code": stopped.exit_code,
        "n_requests": stats.n_requests,
        "n_connections": stats.n_connections,
        "n_reviews": len(endpoint.ledger()),
        "n_answered_twice": sum(n > 1 for n in endpoint.ledger().values()),
        "n_connections_left": n_open,
        "faults": stats.faults,
        **compared(samples),
        "samples": [asdict(sample) for sample in samples[:: max(1, len(samples) // 60)]],
    }


def watched(running: subprocess.Popen[str], for_s: float, endpoint: Any) -> list[Sample]:
    """Look at a process every second."""
    samples, began = [], time.monotonic()
    while time.monotonic() - began < for_s and running.poll() is None:
        status = Path(f"/proc/{running.pid}/status")
        samples.append(
            Sample(
                at_s=round(time.monotonic() - began, 1),
                rss_mb=int((machine.first_value(status, "VmRSS") or "0").split()[0]) * 1024 / 1e6,
                n_threads=int(machine.first_value(status, "Threads") or 0),
                n_files=sum(1 for _ in Path(f"/proc/{running.pid}/fd").iterdir()),
                n_connections=endpoint.stats().n_open,
            )
        )
        time.sleep(1)
    return samples


def compared(samples: list[Sample]) -> dict[str, Any]:
    """Compare the second tenth of the samples with the last one, by their medians."""
    tenth = max(1, len(samples) // 10)
    early, late = samples[tenth : 2 * tenth] or samples[:1], samples[-tenth:]
    made: dict[str, Any] = {}
    for name in ("rss_mb", "n_threads", "n_files", "n_connections"):
        before, after = (statistics.median(getattr(one, name) for one in part) for part in (early, late))
        made[name] = {"early": round(before, 1), "late": round(after, 1)}
    made["rss_growth"] = round(made["rss_mb"]["late"] / made["rss_mb"]["early"] - 1, 4)
    return made


def breaches(found: dict[str, Any]) -> list[str]:
    """Say which bounds were not held."""
    checks = {
        "it did not drain when it was interrupted": found["exit_code"] != 130,
        "a review was paid for twice": found["n_answered_twice"] > 0,
        "a connection was left open": found["n_connections_left"] > 0,
        f"memory grew by more than {MOST_GROWTH:.0%}": found["rss_growth"] > MOST_GROWTH,
        "threads piled up": found["n_threads"]["late"] > found["n_threads"]["early"],
        "files piled up": found["n_files"]["late"] > found["n_files"]["early"] + THREADS,
        "there were more connections than threads": found["n_connections"]["late"] > THREADS,
    }
    return [said for said, is_broken in checks.items() if is_broken]


if __name__ == "__main__":
    main()
