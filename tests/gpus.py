"""GPUs of a test's own: they hold as much memory as it says."""

from __future__ import annotations

from collections.abc import Sequence

from reviewopt.hardware import Gpu

GB = 10**9


def gpu(share: float, *, total_bytes: int = 80 * GB) -> Gpu:
    """A GPU with this share of its memory used, and as much to do; it does not tell its power."""
    used = round(share * total_bytes)
    return Gpu(name="fake", memory_used_bytes=used, memory_total_bytes=total_bytes, utilisation=share, power_w=None)


class FakeGpus:
    """As many as there are shares of used memory; `fails`: the driver stops to answer."""

    driver: str | None = "1.0"

    def __init__(self, shares: Sequence[float], *, fails: bool = False) -> None:
        self.shares = list(shares)
        self.n_reads = 0
        self._fails = fails

    @property
    def count(self) -> int:
        return len(self.shares)

    def read(self, at: int) -> Gpu:
        self.n_reads += 1
        if self._fails:
            raise OSError("the driver says: GPU is lost")
        return gpu(self.shares[at])
