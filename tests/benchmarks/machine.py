"""What a benchmark ran on: a figure without its machine cannot be compared with another one."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

SCHEMA_VERSION = 1

Machine = dict[str, str | int | float | None]


def described() -> Machine:
    """Processor, cores that this process may use, memory in GB, system, and how busy the machine was."""
    return {
        "cpu": first_value(Path("/proc/cpuinfo"), "model name") or platform.processor() or None,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_1_min": round(os.getloadavg()[0], 2),
    }


def memory_gb() -> float | None:
    """Main memory in GB (10^9 bytes), or None where the system does not say."""
    total = first_value(Path("/proc/meminfo"), "MemTotal")
    return round(int(total.split()[0]) * 1024 / 1e9, 1) if total else None


def first_value(path: Path, name: str) -> str | None:
    """The value of the first line `name : value` of a file, or None."""
    if not path.exists():
        return None
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """Versions of Python and of installed packages; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def today() -> str:
    """The date of the measurement, UTC, as YYYY-MM-DD."""
    return datetime.now(UTC).date().isoformat()
