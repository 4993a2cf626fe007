"""The steps of `streaming.py` that need the package, each in a process of its own; the answer goes into a file."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
from asking_steps import texts_of
from reuse_steps import Figures, run

from reviewopt import config
from reviewopt.data import Question, Request
from reviewopt.models.address import parse
from reviewopt.models.chat import Chat, open_chat
from reviewopt.models.http import Client
from reviewopt.settings import ModelSettings
from reviewopt.text.prompt_copy import prompt_copy

PACK = 25
DEADLINE_S = 30.0
RUNS = 5


def chat(url: str, *, logprobs: bool = True, stream: bool = True) -> Chat:
    """The endpoint as a model under the packaged task, in a form that it understands."""
    own = ModelSettings(model="small", base_url=url, logprobs=logprobs, stream=stream, simulated=True)
    task, nowhere = config.load_task("sentiment"), Path("no-such-folder", "no-such-file")
    model = open_chat("simulated", own, task, threads=1, memory=nowhere, environment={})
    model.is_settled = True
    return model


def requests_of(model: Chat, texts: Sequence[str]) -> list[Request]:
    """Requests of 25 reviews each."""
    questions = [Question(at=at, text=text, n_tokens=20) for at, text in enumerate(texts)]
    return [model.compose(questions[at : at + PACK], random.Random(at)) for at in range(0, len(questions), PACK)]


def real(options: Figures) -> list[str]:
    """As many reviews of a table as the requests need, as prompts have them."""
    table = pl.read_parquet(options["table"], n_rows=PACK * options["requests"])
    return prompt_copy(table["title"], table["text"], redact=False).to_list()


def cpu_ms(once: Callable[[], object], n: int) -> float:
    """The least CPU in ms, a request, of some runs over all of them: what is more is the machine's."""
    best = float("inf")
    for _ in range(RUNS):
        began = time.process_time()
        once()
        best = min(best, time.process_time() - began)
    return round(1000 * best / n, 4)


def ask(options: Figures) -> Figures:
    """Asks through the model, and reads what comes."""
    model = chat(options["url"], logprobs=options["logprobs"], stream=options["stream"])
    requests = requests_of(model, texts_of(PACK * options["requests"]))

    def once() -> None:
        for request in requests:
            reply = model.ask(request, DEADLINE_S)
            if reply.outcome != "answered" or len(reply.values) != PACK:
                raise RuntimeError(f"{reply.outcome}: {reply.reason}")

    took, traffic = cpu_ms(once, len(requests)), model.traffic()
    model.close()
    return {"cpu_ms_a_request": took, "received_bytes_a_request": round(traffic.received_bytes / RUNS / len(requests))}


def wire(options: Figures) -> Figures:
    """Posts the requests, compressed once the endpoint says that it takes them so."""
    model, texts = chat(options["url"]), real(options)
    bodies = [request.body for request in requests_of(model, texts)]
    model.close()
    address = parse(options["url"], where="the endpoint")
    client = Client(address, {}, path="/chat/completions", threads=1, compress=options["compress"])

    def once() -> None:
        for body in bodies:
            exchange = client.post(body, DEADLINE_S)
            if exchange.problem or exchange.status != 200:
                raise RuntimeError(f"{exchange.status}: {exchange.reason}")

    took = cpu_ms(once, len(bodies))
    client.close()
    n = RUNS * len(bodies)
    return {
        "requests": n,
        "cpu_ms_a_request": took,
        "sent_bytes_a_request": round(client.sent_bytes / n),
        "sent_wire_bytes_a_request": round(client.sent_wire_bytes / n),
        "sent_wire_share": round(client.sent_wire_bytes / client.sent_bytes, 4),
        "received_bytes_a_request": round(client.received_bytes / n),
        "received_wire_bytes_a_request": round(client.received_wire_bytes / n),
        "received_wire_share": round(client.received_wire_bytes / client.received_bytes, 4),
    }


def levels(options: Figures) -> Figures:
    """What each level of gzip leaves of request bodies, and what it takes."""
    model = chat("http://127.0.0.1:1/v1")
    bodies = [request.body for request in requests_of(model, real(options))]
    model.close()
    size, found = sum(map(len, bodies)), {}
    for level in options["levels"]:

        def packed(level: int = level) -> int:
            packers = [(zlib.compressobj(level, wbits=31), body) for body in bodies]
            return sum(len(packer.compress(body) + packer.flush()) for packer, body in packers)

        found[str(level)] = {"left_share": round(packed() / size, 4), "cpu_ms_a_request": cpu_ms(packed, len(bodies))}
    return {"bytes_a_request": round(size / len(bodies)), **found}


if __name__ == "__main__":
    run({"ask": ask, "wire": wire, "levels": levels})
