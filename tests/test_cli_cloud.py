"""`--model` with a cloud service on the command line: planned without credentials, asked in full requests."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Run
from served import Asked, http, serve

TASK = """name = "four"
instructions = "Say how it feels."
[[fields]]
type = "choice"
name = "sentiment"
labels = ["negative", "neutral", "positive", "mixed"]
"""
# Nothing of this machine's own AWS configuration counts.
BARE = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none"}
KEYS = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIACANARY", "AWS_SECRET_ACCESS_KEY": "canary-secret"}
ARGUMENTS = ("process", "in.parquet", "--task", "four.toml", "--json", "--yes")


@pytest.fixture(autouse=True)
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYS, "AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    Path("four.toml").write_text(TASK)
    texts = [f"{'word ' * at}number {at}" for at in range(30)]
    pl.DataFrame({"text": texts}).write_parquet("in.parquet")


def answer(asked: Asked, sock: socket.socket) -> None:
    n = len(json.loads(asked.body)["TextList"])
    score = {"Positive": 0.0, "Negative": 0.0, "Neutral": 0.0, "Mixed": 1.0}
    results = [{"Index": at, "Sentiment": "MIXED", "SentimentScore": score} for at in range(n)]
    body = json.dumps({"ResultList": results, "ErrorList": []}).encode()
    sock.sendall(http(body, content_type="application/x-amz-json-1.1"))


def test_a_plan_needs_no_credentials_and_is_exact_and_no_sizes_are_tried(inside: Run) -> None:
    done = inside(*ARGUMENTS, "--model", "cloud:aws", "--dry-run", REVIEWOPT_PACK_TUNE="on", **BARE)
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    units = sum(max(3, -(-len(text) // 100)) for text in pl.read_parquet("in.parquet")["text"])
    assert made["usd"] == dict.fromkeys(("low", "expected", "high"), f"{units / 10_000:.12f}")
    assert (made["n_requests"], made["tunes"]) == (2, [])


def test_for_another_task_nothing_is_asked(inside: Run) -> None:
    done = inside("process", "in.parquet", "--model", "cloud:aws", **BARE)
    assert (done.returncode, "aws cannot answer sentiment of the task sentiment" in done.stderr) == (3, True)


def test_a_run_fills_its_requests_and_keeps_no_key(inside: Run) -> None:
    with serve(answer) as served:
        address = served.base_url.removesuffix("/v1")
        Path("reviewopt.toml").write_text(
            f'[models.amazon]\nkind = "aws-comprehend"\nmodel = "BatchDetectSentiment"\nbase_url = "{address}"\n'
        )
        done = inside(*ARGUMENTS, "--model", "amazon", "-o", "out.parquet", **BARE, **KEYS)
    assert done.returncode == 0, done.stderr
    assert sorted(len(json.loads(one.body)["TextList"]) for one in served.asked) == [5, 25]
    assert pl.read_parquet("out.parquet")["sentiment"].cast(pl.String).to_list() == ["mixed"] * 30
    kept = [path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()]
    assert not [content for content in kept if b"canary" in content.lower()]
    assert "canary" not in (done.stdout + done.stderr).lower()
