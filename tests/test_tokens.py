from __future__ import annotations

from pathlib import Path

import pytest

from reviewopt import tokens
from reviewopt.errors import InputError


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "x")  # so that the variable is put back afterwards
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")


def test_counts_are_exact_without_a_network(tmp_path: Path) -> None:
    encoding = tokens.open_encoding(tmp_path / "vocabulary")
    # Published examples of o200k_base: "tiktoken is great!" is six tokens; an empty text none.
    assert tokens.count(encoding, ["tiktoken is great!", "", "hello world"]).tolist() == [6, 0, 2]


def test_a_damaged_cached_vocabulary_is_replaced(tmp_path: Path) -> None:
    tokens.open_encoding(tmp_path)
    (cached,) = tmp_path.iterdir()
    good = cached.read_bytes()
    cached.write_bytes(good[:-1])
    tokens.open_encoding(tmp_path)
    assert cached.read_bytes() == good


def test_a_cache_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot unpack the vocabulary"):
        tokens.open_encoding(tmp_path / "file" / "folder")
