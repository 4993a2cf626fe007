"""One classifier as one file: a JSON header and plain arrays in a zip, written byte for byte the same every time.

Nothing here unpickles: arrays are read with `allow_pickle=False`, the header by a strict schema, and every shape, type
and range is checked before it is used. A file that is not exactly such a model is an `InputError`.
"""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from reviewopt.errors import InputError
from reviewopt.text import grams

SCHEMA_VERSION: Final = 1
FIELDS: Final = ("pairs", "title", "negated")
MAX_LABELS: Final = 255
_MAX_BITS: Final = 24
_MAX_UNPACKED_BYTES: Final = 1 << 30
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_ARRAYS: Final = ("header", "gap", "weight", "seen", "scale", "decision", "slope", "offset", "said_at", "right_at")

Arrays = dict[str, npt.NDArray[Any]]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a model but its numbers.

    Attributes:
        schema_version: of this file's layout.
        grams_version: of the hashes; weights are worth nothing under other hashes.
        name: as it appears as the source of an answer.
        task: the task that it answers.
        labels: 2 to 255 distinct labels; predictions are indices into them.
        languages: languages it was trained on, as BCP 47 tags.
        fields: features besides the words.
        word_bits: log2 of the buckets for words.
        pair_bits: log2 of the buckets for other features.
        pull: words at which confidence stands half-way between uniform and calibrated.
        outside_below: share of known words below which a text counts as outside the model's languages.
    """

    schema_version: int
    grams_version: int
    name: str
    task: str
    labels: list[str]
    languages: list[str]
    fields: list[str]
    word_bits: int
    pair_bits: int
    pull: float
    outside_below: float


def write(path: Path, header: Header, arrays: Arrays) -> None:
    """Write a model under a temporary name, then give it its own, so that no reader meets half a file."""
    named = {"header": np.frombuffer(msgspec.json.encode(header), np.uint8), **arrays}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in _ARRAYS:
            body = io.BytesIO()
            np.lib.format.write_array(body, np.ascontiguousarray(named[name]), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)  # no clock in the file: two builds are equal
            archive.writestr(entry, body.getvalue(), zipfile.ZIP_DEFLATED, 9)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(packed.getvalue())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def read(path: Path) -> tuple[Header, Arrays]:
    """Read and check a model.

    Raises:
        InputError: the file is missing, unreadable, damaged, of a later version, or no model.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except OSError as error:
        raise InputError(f"local model {path}: {error.strerror or error}") from error
    except _Refused as error:
        raise InputError(
            f"local model {path}: {error}; train one with: reviewopt train TABLE --task T -o MODEL"
        ) from error


class _Refused(Exception):  # noqa: N818  # never leaves this module
    """Why a file is no model."""


def _read(file: IO[bytes]) -> tuple[Header, Arrays]:
    try:
        with zipfile.ZipFile(file) as archive:
            if {entry.filename for entry in archive.infolist()} != {f"{name}.npy" for name in _ARRAYS}:
                raise _Refused("not a reviewopt model")
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_UNPACKED_BYTES:
                raise _Refused(f"unpacks to more than {_MAX_UNPACKED_BYTES:,} bytes")
            arrays = {name: _array(archive, name) for name in _ARRAYS}
        header = _header(arrays.pop("header"))
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _Refused(f"damaged, or not a reviewopt model ({type(error).__name__})") from error
    _check(header, arrays)
    return header, arrays


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    body = io.BytesIO(archive.read(f"{name}.npy"))  # checks the CRC
    array: npt.NDArray[Any] = np.lib.format.read_array(body, allow_pickle=False)
    return array


def _header(array: npt.NDArray[Any]) -> Header:
    if array.dtype != np.uint8 or array.ndim != 1:
        raise _Refused("its header is not text")
    try:
        version = msgspec.json.decode(array.tobytes())["schema_version"]
        if version != SCHEMA_VERSION:
            raise _Refused(f"schema version {version}; this reviewopt reads {SCHEMA_VERSION}")
        return msgspec.json.decode(array.tobytes(), type=Header)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise _Refused(f"its header is not valid ({type(error).__name__})") from error


def _check(header: Header, arrays: Arrays) -> None:
    n_labels, n_features, n_points = len(header.labels), len(arrays["gap"]), len(arrays["said_at"])
    shapes = {
        "gap": (np.uint32, (n_features,)),
        "weight": (np.int8, (n_labels - 1, n_features)),
        "seen": (np.uint8, ((n_features + 7) // 8,)),
        "scale": (np.float32, (n_labels - 1,)),
        "decision": (np.float32, (n_labels,)),
        "slope": (np.float32, (n_labels,)),
        "offset": (np.float32, (n_labels,)),
        "said_at": (np.float32, (n_points,)),
        "right_at": (np.float32, (n_points,)),
    }
    if header.grams_version != grams.VERSION:
        raise _Refused(f"made for hashes of version {header.grams_version}; this reviewopt makes {grams.VERSION}")
    if not 2 <= n_labels <= MAX_LABELS or len(set(header.labels)) != n_labels:  # a choice needs two
        raise _Refused(f"needs 2 to {MAX_LABELS} distinct labels")
    if not set(header.fields) <= set(FIELDS) or not all(
        1 <= bits <= _MAX_BITS for bits in (header.word_bits, header.pair_bits)
    ):
        raise _Refused("unknown features")
    for name, (kind, shape) in shapes.items():
        if arrays[name].dtype != kind or arrays[name].shape != shape:
            raise _Refused(f"array {name} is {arrays[name].dtype}{arrays[name].shape}")
        if kind is np.float32 and not np.isfinite(arrays[name]).all():
            raise _Refused(f"array {name} holds a value that is not finite")
    if not n_points or any((np.diff(arrays[name]) < 0).any() for name in ("said_at", "right_at")):
        raise _Refused("its confidence does not rise")
    n_buckets = (1 << header.word_bits) + (1 << header.pair_bits)
    if n_features and (arrays["gap"][1:] == 0).any() | (int(arrays["gap"].sum(dtype=np.uint64)) >= n_buckets):
        raise _Refused("its buckets are out of order or out of range")
