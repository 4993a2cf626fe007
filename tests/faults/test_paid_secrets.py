"""Keys and addresses: a key goes to its endpoint and nowhere else, and requests go only where they were meant to."""

from __future__ import annotations

from pathlib import Path

import pytest
from endpoint import Endpoint
from paid import KEY_VARIABLE, Ran, not_right, prepare, run, texts_of, write_settings

KEY = "sk-canary-0f8fad5b"


def found_in(folder: Path, ran: Ran, secret: str) -> list[str]:
    """Where a secret stands: the streams of a run, and the files below a folder, in any encoding that is plain."""
    streams = [name for name in ("stdout", "stderr") if secret in getattr(ran, name)]
    forms = [secret.encode(), secret.encode("utf-16-le"), secret[::-1].encode()]
    files = (path for path in folder.rglob("*") if path.is_file())
    return streams + [str(path) for path in files if any(form in path.read_bytes() for form in forms)]


@pytest.mark.parametrize("fault", [None, "500", "bad_key", "html", "drop", "redirect"])
def test_a_key_is_found_nowhere(tmp_path: Path, fault: str | None) -> None:
    texts = texts_of(20)
    settings = {"ask.most_attempts": 1, "ask.most_tries": 1}
    with Endpoint(api_key=KEY, script=lambda *_: fault) as endpoint:
        prepare(tmp_path, endpoint, texts, model={"api_key_env": KEY_VARIABLE}, settings=settings)
        ran = run(tmp_path, *(["--json"] if fault is None else []), environment={KEY_VARIABLE: KEY})
    assert ran.exit_code == (0 if fault is None else 3), ran.stderr
    if fault is None:
        assert not_right(tmp_path) == []
    assert found_in(tmp_path, ran, KEY) == []
    assert endpoint.stats().statuses.get(401, 0) == (fault == "bad_key")


def test_a_key_in_the_settings_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, texts_of(10), model={"api_key": KEY})
        ran = run(tmp_path)
        assert (ran.exit_code, KEY in ran.stderr) == (2, False)
        write_settings(tmp_path, {"base_url": endpoint.base_url, "api_key_env": KEY}, {})  # the key in the wrong place
        ran = run(tmp_path)
    assert ran.exit_code in {2, 3}
    assert KEY not in ran.stderr
    assert endpoint.stats().n_requests == 0


def test_a_review_is_found_in_no_message(tmp_path: Path) -> None:
    texts = [*texts_of(9), "xyzzy is what it says fault"]
    with Endpoint(poison="xyzzy") as endpoint:
        prepare(tmp_path, endpoint, texts)
        ran = run(tmp_path)
    assert ran.exit_code == 3, ran.stderr
    assert "xyzzy" not in ran.stdout + ran.stderr


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with Endpoint(script=lambda *_: "redirect") as endpoint:
        prepare(tmp_path, endpoint, texts_of(10), settings={"ask.most_attempts": 1})
        ran = run(tmp_path)
    assert ran.exit_code == 3, ran.stderr
    assert set(endpoint.stats().paths) == {"/v1/chat/completions"}


@pytest.mark.parametrize(
    "base_url",
    [
        "http://169.254.169.254/v1",
        "https://169.254.169.254/v1",
        "http://192.168.1.7/v1",
        "ftp://127.0.0.1/v1",
        "http://someone:hush@127.0.0.1/v1",
    ],
)
def test_addresses_that_must_not_be_asked_are_refused_before_anything_is_sent(tmp_path: Path, base_url: str) -> None:
    with Endpoint() as endpoint:
        prepare(tmp_path, endpoint, texts_of(10), model={"base_url": base_url})
        ran = run(tmp_path)
    assert ran.exit_code == 2, ran.stderr
    assert "base_url" in ran.stderr
    assert "hush" not in ran.stderr
