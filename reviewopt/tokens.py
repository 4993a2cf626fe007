"""Exact token counts, offline: the vocabulary ships with the tool.

tiktoken downloads its vocabulary when it is not in its cache, without a time-out; here it never does.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from reviewopt.config import packaged
from reviewopt.errors import InputError

if TYPE_CHECKING:
    import tiktoken

ENCODING: Final = "o200k_base"
# The hash that tiktoken pins for this vocabulary, and the name under which its cache keeps it (sha1 of its address).
_SHA256: Final = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
_CACHE_NAME: Final = "fb374d419588a4632f3f557e76b4b70aebbca790"
_CACHE_VARIABLE: Final = "TIKTOKEN_CACHE_DIR"


def open_encoding(cache: Path) -> tiktoken.Encoding:
    """Open the encoding, with its vocabulary unpacked once into `cache` (or TIKTOKEN_CACHE_DIR where that is set).

    Raises:
        InputError: the packaged vocabulary is damaged, or the cache cannot be written.
    """
    import tiktoken

    folder = Path(os.environ.setdefault(_CACHE_VARIABLE, str(cache)))
    target = folder / _CACHE_NAME
    if not target.is_file() or hashlib.sha256(target.read_bytes()).hexdigest() != _SHA256:
        _unpack(target)
    return tiktoken.get_encoding(ENCODING)


def packaged_vocabulary() -> bytes:
    """Return the vocabulary that ships with the tool.

    Raises:
        InputError: it is missing or damaged.
    """
    source = packaged("data", f"{ENCODING}.tiktoken.gz")
    try:
        vocabulary = gzip.decompress(source.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{source}: the vocabulary cannot be read: {error}; install reviewopt again") from error
    if hashlib.sha256(vocabulary).hexdigest() != _SHA256:
        raise InputError(f"{source}: the vocabulary is damaged; install reviewopt again")
    return vocabulary


def _unpack(target: Path) -> None:
    vocabulary = packaged_vocabulary()
    try:
        for folder in (target.parent.parent, target.parent):  # the mode is that of the last one alone
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as partial:
            partial.write(vocabulary)
        Path(partial.name).replace(target)
    except OSError as error:
        raise InputError(f"cannot unpack the vocabulary into {target.parent}: {error}") from error


def count(encoding: tiktoken.Encoding, texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Count the tokens of each text, int64 (n_texts,).

    A plain loop, because the library's batch call is 3-4 times slower on short texts.
    """
    return np.fromiter((len(encoding.encode_ordinary(text)) for text in texts), np.int64, len(texts))
