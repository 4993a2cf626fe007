"""What the cloud services share, over a service that plays a script; nothing here loads an SDK."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_cloud import FakeService, cloud_of, last_word
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from reviewopt import pricelist, prices, services
from reviewopt.config import load_task
from reviewopt.data import Question, Usage
from reviewopt.errors import ModelError, UsageError
from reviewopt.models import cloud, kinds
from reviewopt.models.cloud import Cloud
from reviewopt.models.cloud_service import Fault, Found, Unanswered, by_status
from reviewopt.models.protocol import Model
from reviewopt.settings import ModelSettings, OwnPrice
from reviewopt.task import Choice, Predicate, Task

PROVIDERS = ("aws", "google", "azure")


def ask(model: Cloud, texts: Sequence[str], seed: int = 0) -> Any:
    questions = [Question(at=at, text=text, n_tokens=1) for at, text in enumerate(texts)]
    return model.ask(model.compose(questions, random.Random(seed)), 9.0)


def open_it(provider: str, folder: Path, task: Task | None = None, **changes: Any) -> Model:
    """Open as a plan does."""
    changed = structs.replace(cloud.settings_of(provider), **changes)
    return kinds.open_model(
        provider, changed, task or cloud.task(), threads=2, memory=folder / "m", environment={}, sends=False
    )


# What it answers


def test_its_task_is_the_packaged_sentiment_with_mixed_as_a_label_of_its_own() -> None:
    task, usual = cloud.task(), load_task("sentiment")
    assert task.labels == cloud.LABELS == ("negative", "neutral", "positive", "mixed")
    assert (task.field.name, task.label_map, task.name) == (usual.field.name, usual.label_map, "cloud-sentiment")
    assert task.aliases["neutral"] == ("neu",)  # a table that says mixed means mixed


@pytest.mark.parametrize("kind", list(prices.SERVICES))
def test_no_other_question_can_be_put_to_it(kind: str) -> None:
    assert kinds.unanswerable(cloud.task(), kind) == []
    assert kinds.unanswerable(load_task("sentiment"), kind) == ["sentiment"]
    more = Choice(name="mood", labels=(*cloud.LABELS, "angry"))
    assert kinds.unanswerable(Task(name="t", instructions="x", fields=(more, Predicate(name="yes"))), kind) == [
        "mood", "yes",
    ]  # fmt: skip


def test_two_fields_of_its_labels_are_one_too_many() -> None:
    fields = tuple(Choice(name=name, labels=cloud.LABELS) for name in ("one", "two"))
    with pytest.raises(ModelError, match="answers one choice of negative, neutral, positive, mixed"):
        cloud_of(task=Task(name="t", instructions="x", fields=fields))


def test_each_document_gets_the_answer_to_it_whatever_the_order() -> None:
    texts = [f"text {at} {cloud.LABELS[at % 4]}" for at in range(20)]
    service = FakeService(last_word)
    model = cloud_of(service)
    orders = []
    for seed in range(2):
        questions = [Question(at=at, text=text, n_tokens=1) for at, text in enumerate(texts)]
        request = model.compose(questions, random.Random(seed))
        orders.append([question.at for question in request.questions])
        reply = model.ask(request, 9.0)
        said = dict(reply.values)
        assert [said[id_] for id_ in request.ids] == [one.text.split()[-1] for one in request.questions]
        assert json.loads(request.body) == service.asked[-1] == [one.text for one in request.questions]
        assert set(reply.confidence.values()) == {0.875}
        assert (reply.outcome, reply.reason, reply.is_charged) == ("answered", "", True)
    assert orders[0] != orders[1]


def test_no_confidence_is_none() -> None:
    assert ask(cloud_of(FakeService(lambda _: Found("mixed"))), ["x"]).confidence == {}


# What it costs


LISTED = pricelist.read().services
OPENED = {provider: cloud_of(FakeService(lambda _: Found("mixed")), provider) for provider in PROVIDERS}


@settings(max_examples=50)
@given(st.lists(st.integers(min_value=1, max_value=2500), min_size=1, max_size=25), st.sampled_from(PROVIDERS))
def test_units_are_those_of_the_price_list(lengths: list[int], provider: str) -> None:
    reply = ask(OPENED[provider], ["\u00e9" * n for n in lengths])
    expected = services.n_units(services.find(provider, LISTED), services.Sizes.of(np.array(lengths)))
    assert reply.usage == Usage(input=expected)


def test_a_request_says_what_it_can_cost_at_most() -> None:
    model = cloud_of()
    questions = [Question(at=0, text="x" * 301, n_tokens=4), Question(at=1, text="y", n_tokens=3)]
    assert model.compose(questions, random.Random(0)).most_input_units == 4 + 3


@pytest.mark.parametrize(("provider", "usd"), [("aws", "0.0001"), ("google", "0.001"), ("azure", "0.001")])
def test_a_units_price_is_that_of_the_first_tier(provider: str, usd: str) -> None:
    price = prices.find(cloud.settings_of(provider), provider)
    assert price.cost(Usage(input=7)) == price.most(7, 0) == 7 * Decimal(usd)
    assert price.name.startswith(f"{provider}:sentiment, https://")
    assert " of 2026-" in price.name


def test_a_price_of_the_users_own_and_another_feature_of_the_service_are_taken() -> None:
    usual = cloud.settings_of("aws")
    own = prices.find(structs.replace(usual, price=OwnPrice(input_usd=50, output_usd=0)), "mine")
    assert own.cost(Usage(input=1)) == Decimal("0.00005")
    other = prices.find(structs.replace(usual, price="google:sentiment"), "mine")
    assert other.cost(Usage(input=1)) == Decimal("0.001")
    with pytest.raises(UsageError, match="no price is known of the service aws:sentimnt; did you mean aws:sentiment"):
        prices.find(structs.replace(usual, price="aws:sentimnt"), "mine")
    with pytest.raises(UsageError, match="no batch price of aws:sentiment"):
        prices.find(structs.replace(usual, processing="batch"), "mine")


@pytest.mark.parametrize(("provider", "most", "rpm", "unit", "least"), [
    ("aws", 25, 600, 100, 3), ("google", 1, 600, 1000, 1), ("azure", 10, 1000, 1000, 1),
])  # fmt: skip
def test_its_limits_are_those_of_the_price_list(provider: str, most: int, rpm: float, unit: int, least: int) -> None:
    limits = cloud_of(provider=provider).limits
    assert (limits.most_questions, limits.billed_characters, limits.least_units) == (most, unit, least)
    assert limits.rpm == pytest.approx(rpm, rel=1e-3)
    assert cloud_of(provider=provider, rpm=7.0).limits.rpm == 7


# What goes wrong


def test_what_a_service_answers_with_an_error_is_left_out_and_paid_for() -> None:
    reply = ask(cloud_of(), ["a positive", "a strange", "an odd", "so mixed"])
    assert reply.outcome == "answered"
    assert sorted(value for _, value in reply.values) == ["mixed", "positive"]
    assert reply.usage == Usage(input=4 * 3)
    assert reply.reason == "Amazon Comprehend answered 2 of 4 documents with an error: TEXT_TOO_ODD"


def test_one_alone_with_an_error_is_refused_and_a_whole_request_is_spoiled() -> None:
    assert ask(cloud_of(), ["odd"]).outcome == "refused"
    assert ask(cloud_of(), ["odd", "odder"]).outcome == "spoiled"


def test_a_code_that_is_none_is_not_repeated() -> None:
    reply = ask(cloud_of(FakeService(lambda text: Unanswered(f"cannot read: {text} \x1b[31m"))), ["canary"])
    assert reply.reason == "Amazon Comprehend answered 1 of 1 documents with an error: an error without a code"
    assert "canary" not in by_status(400, "canary in words", who="x", keys="", place="").reason


def test_too_few_or_many_results_are_no_reply_to_this_request() -> None:
    reply = ask(cloud_of(FakeService(last_word, n_forgotten=1)), ["a", "b"])
    assert (reply.outcome, reply.values, reply.usage) == ("spoiled", (), Usage(input=6))
    assert reply.reason == "Amazon Comprehend answered 1 of 2 documents"


@pytest.mark.parametrize(("status", "outcome"), [
    (429, "rate_limited"), (401, "hopeless"), (403, "hopeless"), (404, "hopeless"), (302, "hopeless"),
    (408, "unavailable"),
    (500, "unavailable"), (503, "unavailable"), (400, "spoiled"), (413, "spoiled"),
])  # fmt: skip
def test_a_status_says_what_becomes_of_the_request(status: int, outcome: str) -> None:
    fault = by_status(status, "SomeCode", who="Service", keys="set KEYS", place="set PLACE", retry_after_s=2.5)
    assert (fault.outcome, fault.is_charged) == (outcome, False)
    assert fault.retry_after_s == (2.5 if outcome in {"rate_limited", "unavailable"} else None)
    assert f"HTTP {status}, SomeCode" in fault.reason
    assert ("set KEYS" in fault.reason) == (status in {401, 403})
    assert ("set PLACE" in fault.reason) == (status in {404, 302})


def test_a_fault_is_told_as_it_is_and_a_lost_reply_may_be_charged() -> None:
    wait = Fault(outcome="rate_limited", reason="asked to wait", retry_after_s=3.0)
    lost = Fault(outcome="no_reply", reason="late")
    model = cloud_of(FakeService(last_word, {1: wait, 2: lost}))
    first, second = ask(model, ["so mixed"]), ask(model, ["so mixed"])
    assert (first.outcome, first.retry_after_s, first.is_charged, first.usage) == ("rate_limited", 3.0, False, None)
    assert (second.outcome, second.is_charged, second.usage, second.reason) == ("no_reply", True, None, "late")


def test_after_close_nothing_is_sent() -> None:
    service = FakeService(last_word)
    model = cloud_of(service)
    model.connect()
    model.close()
    assert ask(model, ["so mixed"]).outcome == "unavailable"
    assert (service.asked, service.is_closed) == ([], True)


def test_a_service_that_cannot_be_connected_is_hopeless() -> None:
    def refuse() -> Any:
        raise ModelError("no credentials")

    model = Cloud("aws", cloud.settings_of("aws"), cloud.task(), service=refuse, decisive={})
    reply = ask(model, ["so mixed"])
    assert (reply.outcome, reply.reason, reply.is_charged) == ("hopeless", "no credentials", False)


# What it is called, and how it is opened


@pytest.mark.parametrize(("provider", "kind"), list(zip(PROVIDERS, prices.SERVICES, strict=True)))
def test_a_service_needs_no_table(provider: str, kind: str, tmp_path: Path) -> None:
    name, found = kinds.parse_spec(f"cloud:{provider}", {}, {})
    assert (name, found.kind) == (provider, kind)
    model = open_it(provider, tmp_path)
    assert (model.name, model.is_simulated, model.place, model.is_settled) == (provider, False, "remote", True)
    assert model.traffic().sent_bytes == 0
    assert not model.simplify()


@pytest.mark.parametrize(("spec", "told"), [
    ("cloud:asw", "did you mean cloud:aws"), ("cloud:gogle", "did you mean cloud:google"),
    ("cloud:", "there are: cloud:aws, cloud:google, cloud:azure"),
])  # fmt: skip
def test_an_unknown_service_is_refused_with_the_nearest(spec: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        kinds.parse_spec(spec, {}, {})


def test_a_language_that_nobody_calls_so_is_refused() -> None:
    assert cloud.settings_of("aws", language="zh-TW").language == "zh-TW"
    with pytest.raises(UsageError, match="no language is called 'English' by cloud:aws; write en"):
        cloud.settings_of("aws", language="English")


def test_a_table_of_the_users_own_can_be_a_service(tmp_path: Path) -> None:
    mine = ModelSettings(kind="aws-comprehend", model="BatchDetectSentiment", language="fr", rpm=60)
    assert kinds.parse_spec("mine", {"mine": mine}, {}) == ("mine", mine)
    assert open_it("aws", tmp_path, rpm=60).limits.rpm == 60


@pytest.mark.parametrize(("changes", "told"), [
    ({"model": "comprehend-2"}, 'asks BatchDetectSentiment only; write model = "BatchDetectSentiment"'),
    ({"endpoints": ({"base_url": "https://h.example"},)}, "has one endpoint"),
    ({"base_url": "http://h.example"}, "the base_url of aws: http sends"),
])  # fmt: skip
def test_settings_that_it_cannot_have_are_refused(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        open_it("aws", tmp_path, **changes)


def test_google_has_an_address_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="remove base_url"):
        open_it("google", tmp_path, base_url="https://h.example")


def test_the_archives_key_holds_all_that_decides_an_answer(tmp_path: Path) -> None:
    changes: list[tuple[str, dict[str, Any]]] = [
        *((provider, {}) for provider in PROVIDERS),
        *((provider, {"language": "fr"}) for provider in PROVIDERS),
        ("aws", {"base_url": "https://vpc.example"}),
    ]
    made = [dict(open_it(provider, tmp_path, **more).settings) for provider, more in changes]
    assert len({json.dumps(one, sort_keys=True) for one in made}) == len(changes)
    assert len({open_it(provider, tmp_path).prompt_version for provider in PROVIDERS}) == 3
    aws, google, azure = made[:3]
    assert (aws["most_bytes"], aws["api"]) == ("5000", "2017-11-27")
    assert (google["clear_score"], google["mixed_magnitude"], google["api"]) == ("0.25", "1.0", "v1")
    assert (azure["most_characters"], azure["api"]) == ("5120", "2023-04-01")


@pytest.mark.parametrize(("provider", "module"), [
    ("aws", "boto3"), ("google", "google.cloud"), ("azure", "azure.ai.textanalytics"),
])  # fmt: skip
def test_without_its_sdk_it_says_what_to_install_and_a_plan_needs_none(
    provider: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as where it is not installed
    model = open_it(provider, tmp_path)
    assert model.compose([Question(at=0, text="x", n_tokens=1)], random.Random(0)).most_input_units
    with pytest.raises(
        ModelError, match=rf"{provider} needs the service's own library: pip install 'reviewopt\[{provider}\]'"
    ):
        kinds.open_model(
            provider, cloud.settings_of(provider), cloud.task(), threads=2, memory=tmp_path / "m", environment={}
        )


def test_to_know_the_kinds_loads_no_sdk() -> None:
    names = "('boto3', 'google.auth', 'azure.core')"
    code = f"import sys; import reviewopt.models.kinds; print([one for one in {names} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
