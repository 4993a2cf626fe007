"""What the user typed -> the inputs it means: files, globs, folders, standard input, data sets."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from reviewopt.errors import InputError, UsageError
from reviewopt.load.source import shown
from reviewopt.load.stream import Compression

Format = Literal["parquet", "arrow", "csv", "tsv", "json", "hub", "saved"]

_FORMATS: Final[dict[str, Format]] = {
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "json", ".ndjson": "json", ".json": "json",
}  # fmt: skip
_COMPRESSIONS: Final[dict[str, Compression]] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
# What `datasets` writes beside its tables: the first two mark a folder that it can open by itself.
_SAVED: Final = ("dataset_dict.json", "state.json")
_ABOUT: Final = (*_SAVED, "dataset_info.json", "dataset_infos.json")
HUB: Final = "hf://"
STDIN: Final = "-"
_KNOWN: Final = "parquet, csv, tsv, jsonl, ndjson, json, arrow, feather (csv, tsv and json also as .gz or .zst)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One input before it is opened."""

    name: str
    path: Path
    format: Format
    compression: Compression | None = None


def find(inputs: Sequence[str]) -> list[Place]:
    """Every input that is meant, in the order given; folders and globs sorted by name. Standard input is not one.

    Raises:
        InputError: A file is missing or of an unknown format, a glob matches nothing, a folder holds no table.
        UsageError: No input was named.
    """
    if not inputs:
        raise UsageError("no input; name a table, a folder, hf://owner/name, or - for standard input")
    return [place for given in inputs for place in _places(given)]


def _places(given: str) -> list[Place]:
    if given.startswith(HUB):
        return [Place(name=given, path=Path(), format="hub")]
    path = Path(given).expanduser()
    try:
        if path.is_dir():
            return _folder(path, given)
        if path.exists():
            return [_file(path, given)]
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(given)}: not a path that can be read; check it") from error
    if glob.has_magic(given):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute patterns too)
        files = [match for match in matches if Path(match).is_file()]
        if not files:
            raise InputError(f"{shown(given)}: no file matches; check the pattern, and quote it against the shell")
        return [_file(Path(match), match) for match in files]
    raise InputError(f"{shown(given)}: no such file or folder; check the path")


def _file(path: Path, name: str) -> Place:
    place = _known(path, name)
    if place is None:
        raise InputError(f"{shown(name)}: unknown format '{shown(path.suffix)}'; known: {_KNOWN}")
    return place


def _known(path: Path, name: str) -> Place | None:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    compression = _COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression is not None:
        suffixes = suffixes[:-1]
    found = _FORMATS.get(suffixes[-1]) if suffixes else None
    if found is None or (compression is not None and found in ("parquet", "arrow")):
        return None
    return Place(name=name, path=path, format=found, compression=compression)


def _folder(path: Path, given: str) -> list[Place]:
    if any((path / marker).is_file() for marker in _SAVED):
        return [Place(name=given, path=path, format="saved")]
    files = sorted(
        found
        for found in path.rglob("*")
        if found.is_file() and not any(part.startswith(".") for part in found.relative_to(path).parts)
    )
    places = [place for file in files if file.name not in _ABOUT and (place := _known(file, str(file)))]
    if not places:
        raise InputError(f"{shown(given)}: the folder holds no table; known: {_KNOWN}")
    return places
