"""Plain arrays beside the archive that answer many look-ups at once, and that nothing this tool does makes stale.

A sidecar is a folder of segments, each a set of `.npy` files that are memory-mapped, and a manifest. The manifest says
up to which row of the archive it reaches and in which epoch of the archive it was made: rows that came later are read
from the archive, and after any deletion or replacement (which begins a new epoch) the whole sidecar is made again.
Every file has a checksum; a damaged sidecar is made again too. Losing it loses nothing.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from reviewopt.cache.archive import State
from reviewopt.data import Frozen

# A tail of fewer rows than this gets no file: it is read from the archive each time.
SMALL_TAIL: Final = 2_000
# A tail is made a segment of its own below this share of the rest, and while there are fewer segments than that.
TAIL_SHARE: Final = 0.25
MOST_SEGMENTS: Final = 5
_MANIFEST: Final = "manifest"
_CRC_BYTES: Final = 4
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Segment:
    """Arrays about a range of the archive's rows, and the strings that their codes stand for."""

    arrays: Arrays
    names: dict[str, list[str]]


class _SegmentRecord(Frozen, frozen=True, kw_only=True):
    folder: str
    names: dict[str, list[str]]
    crc32: dict[str, int]


class _Manifest(Frozen, frozen=True, kw_only=True):
    version: int
    epoch: int
    n_entries: int
    last_rowid: int
    segments: tuple[_SegmentRecord, ...]


_NOTHING: Final = _Manifest(version=0, epoch=0, n_entries=0, last_rowid=0, segments=())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only process that writes beside the archive; the system frees the lock of one that died."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Sidecar:
    """One kind of sidecar of one archive."""

    def __init__(self, cache: Path, kind: str, version: int) -> None:
        self._cache = cache
        self._folder = cache / kind
        self._version = version

    def load(self, state: State) -> tuple[list[Segment], int]:
        """Map the segments that still describe the archive.

        Returns:
            The segments, and the row up to which they reach; none and 0 where they are stale, damaged or absent.
        """
        manifest = self._read()
        fits = manifest.version == self._version and manifest.epoch == state.epoch
        if not fits or manifest.n_entries > state.n_entries or manifest.last_rowid > state.last_rowid:
            return [], 0
        try:
            return [self._mapped(one) for one in manifest.segments], manifest.last_rowid
        except (OSError, ValueError):
            return [], 0

    def add(self, segment: Segment, state: State, *, after_rowid: int) -> None:
        """Write a segment about the rows after `after_rowid` up to `state.last_rowid`; 0 replaces all others.

        It does nothing where another process has been faster. Disk errors lose only the gain in speed.
        """
        with suppress(OSError), locked(self._cache):
            manifest = self._read() if after_rowid else _NOTHING
            if after_rowid and (manifest.last_rowid != after_rowid or manifest.epoch != state.epoch):
                return
            record = self._write(segment)
            made = _Manifest(
                version=self._version,
                epoch=state.epoch,
                n_entries=state.n_entries,
                last_rowid=state.last_rowid,
                segments=(*manifest.segments, record),
            )
            write_sealed(self._folder / _MANIFEST, msgspec.json.encode(made))
            self._drop_all_but({one.folder for one in made.segments})

    def clear(self) -> None:
        """Remove every file; the next use makes them again."""
        with locked(self._cache):
            shutil.rmtree(self._folder, ignore_errors=True)

    def size_bytes(self) -> int:
        """Return what it takes on disk."""
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())

    def _read(self) -> _Manifest:
        try:
            return msgspec.json.decode(read_sealed(self._folder / _MANIFEST), type=_Manifest)
        except (OSError, ValueError, msgspec.DecodeError):
            return _NOTHING

    def _mapped(self, record: _SegmentRecord) -> Segment:
        arrays: Arrays = {}
        for name, crc in record.crc32.items():
            path = self._folder / record.folder / f"{name}.npy"
            if _crc32_of(path) != crc:  # before numpy reads its header
                raise ValueError(f"{path} is damaged")
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        return Segment(arrays, record.names)

    def _write(self, segment: Segment) -> _SegmentRecord:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._folder))  # never a folder that another process has mapped
        for key, array in segment.arrays.items():
            np.save(folder / f"{key}.npy", array, allow_pickle=False)
        crc32 = {key: _crc32_of(folder / f"{key}.npy") for key in segment.arrays}
        return _SegmentRecord(folder=folder.name, names=segment.names, crc32=crc32)

    def _drop_all_but(self, kept: set[str]) -> None:
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in kept:  # processes that have mapped it keep their maps
                shutil.rmtree(path, ignore_errors=True)


def write_sealed(path: Path, payload: bytes) -> None:
    """Replace a small file, whole or not at all, with a checksum before its content."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(zlib.crc32(payload).to_bytes(_CRC_BYTES, "little") + payload)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_sealed(path: Path) -> bytes:
    """Read what `write_sealed` wrote.

    Raises:
        ValueError: it is damaged.
    """
    data = path.read_bytes()
    payload = data[_CRC_BYTES:]
    if zlib.crc32(payload).to_bytes(_CRC_BYTES, "little") != data[:_CRC_BYTES]:
        raise ValueError(f"{path} is damaged")
    return payload


def _crc32_of(path: Path) -> int:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return zlib.crc32(data)
