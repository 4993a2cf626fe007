"""What the graphics processors of this machine do: memory, utilisation, power; or in words why nobody knows.

A model that computes in this process shares their memory with everything else that runs there, so each of its batches
asks a `Guard` for room first. A server of its own looks after its memory itself: there a `Watch` only reports. No GPU,
no driver, no package and a driver that fails are no errors: what is not known is null, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from reviewopt.data import Frozen

# Above this share of a GPU's memory, batches shrink: the design's bound. The fifth that is left is for what a batch
# takes while it is computed, which no reading before it shows.
MOST_MEMORY_SHARE: Final = 0.8
# Memory is read so often at most: a batch must have begun before its size can tell.
_GUARD_EVERY_S: Final = 0.2
_WATCH_EVERY_S: Final = 1.0
# After waiting so long for memory that somebody else holds, single reviews go on all the same.
_LONGEST_WAIT_S: Final = 60.0


class Gpu(Frozen, frozen=True, kw_only=True):
    """One GPU at one moment; `utilisation` is 0 to 1, it and `power_w` are null where the driver does not say."""

    name: str
    memory_used_bytes: int
    memory_total_bytes: int
    utilisation: float | None
    power_w: float | None

    @property
    def memory_share(self) -> float:
        """The used share of its memory, 0 to 1."""
        return min(1.0, self.memory_used_bytes / self.memory_total_bytes) if self.memory_total_bytes > 0 else 1.0


class Hardware(Frozen, frozen=True, kw_only=True):
    """The GPUs at one moment; where there are none, `reason` says in words why, else it is empty."""

    gpus: tuple[Gpu, ...]
    driver: str | None
    reason: str


class Spread(Frozen, frozen=True, kw_only=True):
    """The least, mean and most of what was read over a run."""

    least: float
    mean: float
    most: float


class GpuUse(Frozen, frozen=True, kw_only=True):
    """What one GPU did over a run, `n_looks` readings at least a second apart; shares are 0 to 1, null is not known."""

    name: str
    memory_total_bytes: int
    n_looks: int
    memory_share: Spread
    utilisation: Spread | None
    power_w: Spread | None


class Gpus(Protocol):
    """The graphics processors of this machine, for who only reads their figures."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def driver(self) -> str | None:
        """The driver's version, null where it does not say."""

    def read(self, at: int) -> Gpu:
        """Read the figures of one of them, from 0.

        Raises:
            OSError: the driver does not answer; the message says what it said.
        """


class Nvml:
    """NVIDIA's own library over nvidia-ml-py, an extra of this tool: `pip install 'reviewopt[gpu]'`."""

    def __init__(self, library: Any) -> None:
        """Begin to read.

        Args:
            library: the module `pynvml`, or what behaves like it.

        Raises:
            OSError: there is no driver, or no GPU.
        """
        self._library = library
        self._call(library.nvmlInit)
        self._handles = [
            self._call(library.nvmlDeviceGetHandleByIndex, at) for at in range(self._call(library.nvmlDeviceGetCount))
        ]
        if not self._handles:
            raise OSError("the driver knows no GPU")

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._handles)

    @property
    def driver(self) -> str | None:
        """The driver's version, null where it does not say."""
        found = self._told(self._library.nvmlSystemGetDriverVersion)
        return None if found is None else _text(found)

    def read(self, at: int) -> Gpu:
        """Read the figures of one of them, from 0.

        Raises:
            OSError: the driver does not answer.
        """
        handle, library = self._handles[at], self._library
        memory = self._call(library.nvmlDeviceGetMemoryInfo, handle)
        rates = self._told(library.nvmlDeviceGetUtilizationRates, handle)
        milliwatts = self._told(library.nvmlDeviceGetPowerUsage, handle)
        return Gpu(
            name=_text(self._call(library.nvmlDeviceGetName, handle)),
            memory_used_bytes=int(memory.used),
            memory_total_bytes=int(memory.total),
            utilisation=None if rates is None else rates.gpu / 100,
            power_w=None if milliwatts is None else milliwatts / 1000,
        )

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._library.NVMLError as error:
            raise OSError(f"the driver says: {error}") from error

    def _told(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what not every GPU or driver tells, or None."""
        try:
            return self._call(function, *arguments)
        except OSError:
            return None


def open_gpus() -> Gpus:
    """Open the GPUs of this machine.

    Raises:
        OSError: there are none to be read; the message says why.
    """
    try:
        import pynvml
    except ImportError as error:
        raise OSError("nvidia-ml-py is not installed; to watch a GPU: pip install 'reviewopt[gpu]'") from error
    return Nvml(pynvml)


def state(find: Callable[[], Gpus] = open_gpus) -> Hardware:
    """Read all GPUs once; whatever fails is a reason in words."""
    try:
        found = find()
        return Hardware(gpus=tuple(map(found.read, range(found.count))), driver=found.driver, reason="")
    except OSError as error:
        return Hardware(gpus=(), driver=None, reason=str(error))


class Guard:
    """Says how many reviews the next batch of a model in this process may hold; for one thread.

    While the fullest GPU is above the bound, each reading halves the batches again, down to one; there nothing is sent
    until there is room, a minute at most. Below the bound each reading doubles them again.
    """

    def __init__(self, gpus: Gpus, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._gpus, self._clock = gpus, clock
        self._halvings = 0
        self._is_full = False
        self._looked_s = float("-inf")
        self._waits_since_s: float | None = None
        self._gave_up = False  # waiting brought nothing the last time, and nothing has become free since
        self.n_halved = 0
        self.waited_s = 0.0

    def room(self, n_reviews: int) -> int:
        """Return how many of `n_reviews` (> 0) may be sent now; 0: none, ask again in a moment."""
        now = self._clock()
        if now - self._looked_s >= _GUARD_EVERY_S:
            self._look(now, n_reviews)
        if self._is_full and not n_reviews >> self._halvings and not self._gave_up:
            self._waits_since_s = now if self._waits_since_s is None else self._waits_since_s
            if now - self._waits_since_s < _LONGEST_WAIT_S:
                return 0
            self._gave_up = True
        self._end_wait(now)
        size = max(1, n_reviews >> self._halvings)
        self.n_halved += size < n_reviews
        return size

    def _look(self, now: float, n_reviews: int) -> None:
        self._looked_s = now
        share = _fullest(self._gpus)
        self._is_full = share is not None and share > MOST_MEMORY_SHARE
        if self._is_full:
            self._halvings = min(self._halvings + 1, max(self._halvings, n_reviews.bit_length()))
        else:
            self._halvings = max(0, self._halvings - 1)
            self._gave_up = False

    def _end_wait(self, now: float) -> None:
        if self._waits_since_s is not None:
            self.waited_s += now - self._waits_since_s
            self._waits_since_s = None


def _fullest(gpus: Gpus) -> float | None:
    """Return the highest share of used memory, or None where the driver has stopped to tell."""
    try:
        return max((gpus.read(at).memory_share for at in range(gpus.count)), default=None)
    except OSError:
        return None


@dataclass(slots=True)
class _Sum:
    """Least, sum and most of what was read so far."""

    n: int = 0
    least: float = float("inf")
    total: float = 0.0
    most: float = float("-inf")

    def add(self, value: float | None) -> None:
        """Take one more, or nothing where it is not known."""
        if value is not None:
            self.n += 1
            self.least, self.total, self.most = min(self.least, value), self.total + value, max(self.most, value)

    def spread(self) -> Spread | None:
        """Return the spread; None where nothing was ever known."""
        # A sum of equal values over their number can leave their range by a rounding.
        mean = min(max(self.total / self.n, self.least), self.most) if self.n else 0.0
        return Spread(least=self.least, mean=mean, most=self.most) if self.n else None


@dataclass(slots=True)
class _Seen:
    """What was read of one GPU so far."""

    last: Gpu
    memory: _Sum = field(default_factory=_Sum)
    utilisation: _Sum = field(default_factory=_Sum)
    power: _Sum = field(default_factory=_Sum)

    def add(self, gpu: Gpu) -> None:
        """Take one reading."""
        self.memory.add(gpu.memory_share)
        self.utilisation.add(gpu.utilisation)
        self.power.add(gpu.power_w)


class Watch:
    """Keeps what the GPUs did over a run; it has no thread of its own, so whoever waits calls `look` now and then."""

    def __init__(self, gpus: Gpus, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._gpus, self._clock = gpus, clock
        self._looked_s = float("-inf")
        self._seen: dict[int, _Seen] = {}

    def look(self) -> None:
        """Read all GPUs, unless that was done within the last second; what the driver does not tell is left out."""
        now = self._clock()
        if now - self._looked_s < _WATCH_EVERY_S:
            return
        self._looked_s = now
        for at in range(self._gpus.count):
            try:
                gpu = self._gpus.read(at)
            except OSError:
                continue
            self._seen.setdefault(at, _Seen(gpu)).add(gpu)

    def use(self) -> Sequence[GpuUse]:
        """Return what each GPU did so far; one that was never read is left out."""
        made = []
        for _, seen in sorted(self._seen.items()):
            memory = seen.memory.spread()
            if memory is not None:
                made.append(
                    GpuUse(
                        name=seen.last.name,
                        memory_total_bytes=seen.last.memory_total_bytes,
                        n_looks=seen.memory.n,
                        memory_share=memory,
                        utilisation=seen.utilisation.spread(),
                        power_w=seen.power.spread(),
                    )
                )
        return tuple(made)


def _text(name: str | bytes) -> str:
    """Return a name; older versions of the library give bytes."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name
