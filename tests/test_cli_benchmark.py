"""`reviewopt benchmark` from the command line: what is priced, what is asked, and what is said of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import jsonschema
import polars as pl
import pytest
from conftest import Run
from endpoint import Endpoint

from reviewopt import benchmark
from reviewopt.config import packaged

N = 190  # with so many the sample that is asked can be judged


def said(inside: Run, *arguments: str | Path, **environment: str) -> dict[str, Any]:
    """The JSON of a comparison that worked."""
    done = inside("benchmark", *arguments, "--quiet", "--json", **environment)
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Reviews that the local model tells apart, with their labels, and some without a text."""
    texts = {
        "positive": "I love it, works great, best I ever had",
        "negative": "terrible, broke at once, waste of money",
    }
    rows = [("positive", "negative")[at % 2] for at in range(N)]
    table = pl.DataFrame(
        {
            "id": [f"r{at}" for at in range(N)],
            "text": [None if at % 10 == 9 else f"{texts[label]}, number {at}" for at, label in enumerate(rows)],
            "rating": rows,
        }
    )
    table.write_csv(tmp_path / "reviews.csv")
    return tmp_path / "reviews.csv"


def test_without_a_table_and_a_rival_it_is_the_sample_against_aws_and_uses_no_network(
    inside: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("nothing is fetched unless --live")

    monkeypatch.setattr(socket.socket, "connect", refused)
    made = said(inside)
    schema = json.loads(packaged("configs", "benchmark.schema.json").read_text())
    jsonschema.validate(made, schema)
    sample = pl.read_parquet(packaged("data", "sample_reviews.parquet"))
    whole = sample.filter(pl.col("review_text").str.strip_chars().str.len_chars() > 0).select(
        pl.concat_str("title", "review_text", separator="\n", ignore_nulls=True).str.len_chars()
    )
    units = sum(max(3, -(-n // 100)) for n in whole.to_series().to_list())
    [own], [rival] = made["own"], made["rivals"]
    assert (rival["name"], rival["n_units"], made["reviews"]["n_reviews"]) == ("aws", units, whole.height)
    assert Decimal(rival["usd"]) == units * Decimal("0.0001")
    assert rival["accuracy"] is None
    assert own["accuracy"]["low"] < own["accuracy"]["value"] < own["accuracy"]["high"]
    assert own["parts"] == {"this machine": own["usd"]}
    assert Decimal(own["usd"]) > 0
    [verdict] = made["verdicts"]
    assert (verdict["cost"], verdict["accuracy"], verdict["turns_at"]) == ("cheaper", "not known", None)


def test_the_committed_schema_is_the_types_schema() -> None:
    committed = json.loads(packaged("configs", "benchmark.schema.json").read_text())
    assert committed == benchmark.json_schema(), "rewrite configs/benchmark.schema.json: CONTRIBUTING.md says how"


def test_ten_thousand_reviews_of_430_characters_cost_what_the_price_lists_say(inside: Run, tmp_path: Path) -> None:
    table = tmp_path / "even.csv"
    pl.DataFrame({"text": [f"{'good ' * 85}{at:05}" for at in range(10_000)]}).write_csv(table)
    rivals = {one["name"]: one for one in said(inside, table, "--vs", "aws,google,azure")["rivals"]}
    assert {name: Decimal(one["usd"]) for name, one in rivals.items()} == {"aws": 5, "google": 10, "azure": 10}
    assert {name: Decimal(one["usd_per_1000"]) for name, one in rivals.items()} == {
        "aws": Decimal("0.5"), "google": 1, "azure": 1,
    }  # fmt: skip
    assert Decimal(rivals["google"]["after_free_usd"]) == 5


def test_the_last_line_says_that_nobody_wins_where_an_accuracy_is_not_known(inside: Run, reviews: Path) -> None:
    done = inside("benchmark", reviews, "--vs", "aws,google")
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("reviewopt costs less at list price than aws (")
    assert "at every monthly volume; nobody wins" in last
    assert "wins against" not in done.stdout


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--vs", "awz"), "did you mean aws?"),
        (("--vs", "aws,,google"), "name rivals parted by commas"),
        (("--vs", "aws,aws"), "aws is named twice"),
        (("--vs", "aws:sentimant"), "did you mean aws:sentiment?"),
        (("--vs", "naive:smal"), "did you mean naive:small?"),
        (("--vs", "smal"), "did you mean small?"),
        (("--vs", "naive:"), "write naive:openai:MODEL"),
        (("--vs", "batch:openai:gpt-4o", "--live"), "a price list's alone"),
        (("--vs", "aws:entities", "--live"), "asks for sentiment alone"),
        (("--vs", "aws", "--task", "review.toml"), "a cloud service tells sentiment"),
        (("--run", "20261121-120000-000000", "--model", "small"), "it goes without a model or a reference"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) and len(value) > 1 else "",
)
def test_what_cannot_be_compared_is_refused_with_what_to_do(
    inside: Run, reviews: Path, tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    (tmp_path / "reviewopt.toml").write_text(
        '[models.small]\nmodel = "small"\nbase_url = "http://127.0.0.1:9/v1"\nprice = {input_usd = 1, output_usd = 1}\n'
    )
    (tmp_path / "review.toml").write_text(
        'name = "topic"\ninstructions = "What is it about?"\n\n[[fields]]\ntype = "choice"\nname = "topic"\n'
        'labels = ["price", "quality"]\n'
    )
    done = inside("benchmark", reviews, *flags)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / ".reviewopt").exists(), "nothing was run"


def test_standard_input_is_refused_because_it_is_read_more_than_once(inside: Run) -> None:
    done = inside("benchmark", "-", stdin="text\ngood\n")
    assert done.returncode == 2
    assert "name a file" in done.stderr


def test_a_table_without_any_text_has_nothing_to_compare(inside: Run, tmp_path: Path) -> None:
    pl.DataFrame({"text": ["", " "]}).write_csv(tmp_path / "empty.csv")
    done = inside("benchmark", tmp_path / "empty.csv")
    assert done.returncode == 2
    assert "no row has a text" in done.stderr


def test_models_are_priced_by_the_plan_of_asking_them_naively_in_packs_as_decisions_and_as_a_batch(
    inside: Run, reviews: Path
) -> None:
    names = [f"{form}openai:gpt-4o-mini" for form in ("", "naive:", "batch:")]
    vs = ",".join([*names, "decisions:openai:gpt-6-luna"])
    found = {one["name"]: one for one in said(inside, reviews, "--vs", vs)["rivals"]}
    packs, naive, batch = (Decimal(found[name]["usd"]) for name in names)
    assert 0 < packs < naive
    assert batch * 2 == naive
    assert "0 out" in found["decisions:openai:gpt-6-luna"]["billing"]
    dry = inside("process", reviews, "--model", "openai:gpt-4o-mini", "--naive", "--dry-run", "--json", "-o", "a.csv")
    assert json.loads(dry.stdout)["usd"]["expected"] == found[names[1]]["usd"]


def test_a_recorded_run_stands_for_our_side_and_nothing_is_labelled_again(
    inside: Run, reviews: Path, tmp_path: Path
) -> None:
    assert inside("process", reviews, "-o", tmp_path / "out.csv").returncode == 0
    [record] = (tmp_path / ".reviewopt" / "runs").iterdir()
    made = said(inside, reviews, "--run", record.name)
    assert [one["run_id"] for one in made["own"]] == [record.name]
    assert len(list((tmp_path / ".reviewopt" / "runs").iterdir())) == 1
    reviews.write_text(reviews.read_text() + "r999,one more,positive\n")
    done = inside("benchmark", reviews, "--run", record.name)
    assert done.returncode == 2
    assert "is not this table as it is now" in done.stderr


def test_our_labels_are_kept_where_a_file_is_named_and_no_file_is_replaced(
    inside: Run, reviews: Path, tmp_path: Path
) -> None:
    said(inside, reviews, "-o", tmp_path / "ours.csv")
    assert pl.read_csv(tmp_path / "ours.csv").height == N
    before = (tmp_path / "ours.csv").read_bytes()
    done = inside("benchmark", reviews, "-o", tmp_path / "ours.csv")
    assert done.returncode == 2
    assert "it is kept" in done.stderr
    assert (tmp_path / "ours.csv").read_bytes() == before


def test_a_certified_run_stands_beside_the_plain_one_and_is_not_priced_for_less_than_it_had(
    inside: Run, reviews: Path
) -> None:
    flags = (reviews, "--reference", "column:rating", "--target", ".8")
    made = said(inside, *flags, "--label-usd", "0.05")
    assert [one["name"] for one in made["own"]] == ["reviewopt", "reviewopt certified"]
    plain, certified = made["own"]
    assert plain["proven"] is None
    assert certified["proven"]["is_met"]
    assert certified["labels_of_people"] > 0
    assert Decimal(certified["parts"]["labels of people"]) == certified["labels_of_people"] * Decimal("0.05")
    assert {(one["own"], one["rival"]) for one in made["savings"]} == {(one["name"], "aws") for one in made["own"]}
    assert all(
        (row["usd"]["reviewopt certified"] is None) == (row["n_reviews"] < made["reviews"]["n_reviews"])
        for row in made["scale"]
    )
    unpriced = said(inside, *flags)
    assert unpriced["savings"][1]["share"] is None
    assert all(row["usd"]["reviewopt certified"] is None for row in unpriced["scale"])
    assert "is not compared with aws" in unpriced["summary"][0]


def test_a_promise_that_is_not_met_is_called_so_and_exits_1(inside: Run, reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "reviewopt.toml").write_text("[certificate]\nmissing_at_random = true\n")
    half = [("positive", None, "negative", None)[at % 4] for at in range(N)]
    pl.read_csv(reviews).with_columns(rating=pl.Series(half)).write_csv(reviews)
    done = inside("benchmark", reviews, "--reference", "column:rating", "--target", ".99", "--label-usd", "1")
    assert done.returncode == 1
    assert "our run is not certified at 0.99" in done.stderr
    assert "reviewopt not certified: local model > column:rating" in done.stdout
    assert "; not certified at 99 % against column:rating" in done.stdout
    assert "reviewopt certified" not in done.stdout


def test_what_the_certified_run_would_refuse_is_refused_before_the_plain_one_is_paid(
    inside: Run, reviews: Path, tmp_path: Path
) -> None:
    for flags in (("--target", ".9"), ("--reference", "column:nope", "--target", ".9")):
        assert inside("benchmark", reviews, *flags).returncode == 2
        assert not (tmp_path / ".reviewopt" / "runs").exists()


def test_an_own_run_asks_as_if_for_the_first_time_and_what_a_rival_was_asked_is_no_run_of_the_home(
    inside: Run, reviews: Path, tmp_path: Path
) -> None:
    with Endpoint() as endpoint:
        write_model(tmp_path, endpoint)
        first = said(inside, reviews, "--model", "strong", "--limit", "20", "--yes")["own"][0]
        again = said(inside, reviews, "--model", "strong", "--limit", "20", "--yes")["own"][0]
        assert set(endpoint.ledger(billed=True).values()) == {2}
        assert Decimal(again["parts"]["strong-1"]) == Decimal(first["parts"]["strong-1"]) > 0
        assert again["not_comparable"] is None
        n_runs = len(list((tmp_path / ".reviewopt" / "runs").iterdir()))
        live = said(inside, reviews, "--vs", "strong", "--live", "--live-sample", "20", "--limit", "20", "--yes")
        assert set(endpoint.ledger(billed=True).values()) == {2}, "but a rival's answers are the archive's"
    assert len(list((tmp_path / ".reviewopt" / "runs").iterdir())) == n_runs + 1, "our own side's"
    rivals = [folder.name for folder in (tmp_path / ".reviewopt" / "rivals").iterdir()]
    assert rivals == [live["rivals"][0]["live"]["run_id"]]
    assert inside("report", rivals[0], "--json").returncode == 0


def test_a_rival_that_fails_is_named_and_the_others_are_compared(inside: Run, reviews: Path, tmp_path: Path) -> None:
    with Endpoint() as endpoint:
        write_model(tmp_path, endpoint)
        with (tmp_path / "reviewopt.toml").open("a") as file:
            file.write('[models.gone]\nmodel = "gone"\nbase_url = "http://127.0.0.1:9/v1"\nsimulated = true\n')
            file.write("price = { input_usd = 1, output_usd = 1 }\n[ask]\nmost_attempts = 1\n")
        flags = ("--vs", "gone,strong", "--live", "--live-sample", "5", "--yes", "--json")
        done = inside("benchmark", reviews, *flags)
    assert done.returncode == 3
    assert "not every rival could be asked: gone:" in done.stderr
    gone, strong = json.loads(done.stdout)["rivals"]
    assert (gone["live"]["n_answered"], gone["accuracy"]) == (0, None)
    assert strong["live"]["n_answered"] == 5


def test_a_price_above_the_budget_is_refused_before_anything_is_asked(
    inside: Run, reviews: Path, aws: dict[str, str]
) -> None:
    done = inside("benchmark", reviews, "--live", "--yes", "--budget", "0.001", **aws)
    assert done.returncode == 4
    assert "above the budget of $0.001: nothing was asked" in done.stderr
    assert Comprehend.n_documents == 0


def write_model(folder: Path, endpoint: Endpoint) -> None:
    (folder / "reviewopt.toml").write_text(
        f'[models.strong]\nmodel = "strong-1"\nbase_url = "{endpoint.base_url}"\nsimulated = true\n'
        "price = { input_usd = 10, output_usd = 10 }\n"
    )


# --- live ------------------------------------------------------------------------------------------------------------


class Comprehend(BaseHTTPRequestHandler):
    """Answers as Amazon Comprehend does, from the texts alone; counts what it was asked."""

    protocol_version = "HTTP/1.1"
    n_documents = 0

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["TextList"]
        type(self).n_documents += len(texts)
        found = [{"Index": at, "Sentiment": _sentiment(text), "SentimentScore": SCORE} for at, text in enumerate(texts)]
        body = json.dumps({"ResultList": found, "ErrorList": []}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-amz-json-1.1")
        self.send_header("content-length", f"{len(body)}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


SCORE = {"Positive": 0.7, "Negative": 0.1, "Neutral": 0.1, "Mixed": 0.1}


def _sentiment(text: str) -> str:
    if text.endswith("0"):
        return "MIXED"
    return "NEGATIVE" if "terrible" in text and not text.endswith("1") else "POSITIVE"


@pytest.fixture
def aws() -> Iterator[dict[str, str]]:
    """A service on loopback that its SDK is pointed to, by the environment that the SDK itself reads."""
    Comprehend.n_documents = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Comprehend) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
        server.shutdown()
        thread.join()


def test_live_asks_the_rival_through_its_sdk_and_judges_row_by_row_under_both_meanings_of_mixed(
    inside: Run, reviews: Path, aws: dict[str, str]
) -> None:
    flags = (reviews, "--live", "--live-sample", "150", "--label-column", "rating")
    asked = inside("benchmark", *flags, **aws)
    assert asked.returncode == 4
    assert "nothing was asked; agree with --yes" in asked.stderr
    assert Comprehend.n_documents == 0
    made = said(inside, *flags, "--yes", **aws)
    assert Comprehend.n_documents == 150
    [rival] = made["rivals"]
    live = rival["live"]
    policies = live["paired"]["reviewopt"]
    n_mixed = live["n_mixed"]
    assert n_mixed > 0
    assert (live["n_sampled"], live["n_answered"]) == (150, 150)
    assert policies["dropped"]["n"] == 150 - n_mixed
    assert policies["neutral"]["n"] == 150
    wrong = policies["neutral"]["n_only_a_right"]
    assert wrong == 150 - round(policies["neutral"]["accuracy_b"]["value"] * 150) > n_mixed, "our side is right on all"
    assert rival["accuracy"] == policies["neutral"]["accuracy_b"]
    assert Decimal(live["spent_usd"]) == 150 * 3 * Decimal("0.0001")
    [verdict] = made["verdicts"]
    assert (verdict["cost"], verdict["accuracy"]) == ("wins", "wins")
    assert made["summary"][-1].startswith("reviewopt wins against aws on cost (")
    again = said(inside, *flags, "--yes", **aws)
    assert Comprehend.n_documents == 150, "the answers are archived"
    assert again["rivals"][0]["live"]["paired"] == live["paired"]


def test_what_live_needs_is_looked_for_before_our_own_side_costs_anything(
    inside: Run, reviews: Path, tmp_path: Path
) -> None:
    environment = dict.fromkeys(("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ACCESS_KEY_ID"), "")
    done = inside("benchmark", reviews, "--live", "--yes", AWS_CONFIG_FILE=str(tmp_path / "none"), **environment)
    assert done.returncode == 3
    assert "AWS_DEFAULT_REGION" in done.stderr
    assert not (tmp_path / ".reviewopt" / "runs").exists()


def test_live_takes_no_answer_that_people_or_history_gave_for_the_rivals_own(
    inside: Run, reviews: Path, tmp_path: Path
) -> None:
    assert inside("cache", "warm", reviews).returncode == 0
    with Endpoint() as endpoint:
        write_model(tmp_path, endpoint)
        made = said(inside, reviews, "--vs", "strong", "--live", "--live-sample", "30", "--yes")
        assert sum(endpoint.ledger().values()) == 30
    [rival] = made["rivals"]
    assert (rival["live"]["n_answered"], rival["live"]["is_simulated"]) == (30, True)
    assert rival["accuracy"]["value"] < 1, "it answers at random, history is right"


def test_tenants_that_share_nothing_share_no_request_to_a_rival_either(
    inside: Run, reviews: Path, tmp_path: Path, aws: dict[str, str]
) -> None:
    table = pl.read_csv(reviews).with_columns(tenant=pl.Series([f"t{at % 3}" for at in range(N)]))
    table.write_csv(reviews)
    said(inside, reviews, "--live", "--live-sample", "30", "--yes", **aws)
    [record] = (tmp_path / ".reviewopt" / "rivals").glob("*/run.json")
    run = json.loads(record.read_text())
    assert run["scope"] == "isolated"
    assert run["asked"]["n_requests"] >= 3


def test_what_is_taken_back_is_taken_out_of_the_records_of_rivals_too(
    inside: Run, tmp_path: Path, aws: dict[str, str]
) -> None:
    secret = "my name is Orlando and it broke"
    pl.DataFrame({"text": [secret] * 3 + ["works well"] * 2}).write_csv(tmp_path / "in.csv")
    said(inside, tmp_path / "in.csv", "--live", "--yes", **aws)
    [record] = (tmp_path / ".reviewopt" / "rivals").glob("*/run.json")
    assert secret in record.read_text()
    assert inside("cache", "invalidate", "--text", secret).returncode == 0
    assert secret not in record.read_text()
    left = [
        path for path in (tmp_path / ".reviewopt").rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert left == []
