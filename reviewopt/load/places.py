"""What the user typed -> the inputs it means: files, globs, folders, standard input, data sets."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from reviewopt.errors import InputError
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
# How `write.default_output` names a labelled table.
_LABELLED: Final = ".labelled."
_KNOWN: Final = "parquet, csv, tsv, jsonl, ndjson, json, arrow, feather (csv, tsv and json also as .gz or .zst)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One input before it is opened."""

    name: str
    path: Path
    format: Format
    compression: Compression | None = None


def find(given: str) -> list[Place]:
    """The tables that one input means; folders and globs sorted by name. Standard input is not one.

    Raises:
        InputError: A file is missing or of an unknown format, a glob matches nothing, a folder holds no table.
    """
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


def distinct(found: Sequence[tuple[str, list[Place]]]) -> tuple[list[Place], tuple[str, ...]]:
    """Each table once, and none that an earlier run wrote unless it was named itself.

    Args:
        found: Each input as given, and its tables.

    Returns:
        The tables in order, and notes on those left out.

    Raises:
        InputError: A folder or glob holds nothing but tables of earlier runs.
    """
    places: dict[object, Place] = {}
    notes: list[str] = []
    for given, tables in found:
        ours = [place for place in tables if place.name != given and _LABELLED in place.path.name]
        if _LABELLED in given:
            ours = []
        if ours and len(ours) == len(tables):
            raise InputError(
                f"{shown(given)}: only labelled tables of earlier runs; name one of them to label it again"
            )
        for place in tables:
            key = place.name if place.format == "hub" else place.path.resolve()
            if place in ours:
                notes.append(f"{shown(place.name)} is left out: an earlier run wrote it (name the file to label it)")
            elif key in places:
                notes.append(f"{shown(place.name)} is left out: it is read already, as {shown(places[key].name)}")
            else:
                places[key] = place
    return list(places.values()), tuple(notes)


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
