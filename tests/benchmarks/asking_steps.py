"""The steps of `asking.py` and `clients.py` that make tables or ask without the command line, each in its own process.

    python tests/benchmarks/asking_steps.py ask '{"url": "http://127.0.0.1:8081/v1", ...}'

What a step returns goes into the file that `answer` names.
"""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path

import polars as pl
from asking_endpoint import MODEL
from reuse_steps import Figures, run

from reviewopt import config, prices
from reviewopt.ask.paying import Paying
from reviewopt.ask.pool import Pool
from reviewopt.budget import Purse
from reviewopt.data import Question
from reviewopt.models.kinds import open_model
from reviewopt.settings import ModelSettings, OwnPrice

N_WORDS = 15
SEED = 15
WORDS = """
adapter arrived bag battery beautiful better bottle bought box bracket bright broken brush button cable camera case
ceramic charger cheap clean clock cold colour comfortable cover cracked daughter days delivery desk dim disappointed
door easy edge fabric fan fast filter finish fits flat garden gift glass glue good grip handle happy heavy hinge holds
house instructions kettle kitchen lamp large late leather light lid long looks loose loud machine material metal
mirror mug neat noisy odd ordered paint pan paper perfect picture pillow plastic plug poor price quality quick quiet
refund returned rough rug rusty scratched screen seam seller sharp shelf shiny shirt shoes simple size sleeve slow
smell smooth soft solid son spring stain steel stitching stopped strap strong table thin tight tiny tool towel toy
useful warm washed water week weak wheel wife window wire wonderful wooden works worn worth wrong zipper
"""


def texts_of(n_reviews: int) -> list[str]:
    """Distinct made reviews of fifteen words; two of them share a few words at most, so none is a near copy."""
    words, drawn = WORDS.split(), random.Random(SEED)
    return [" ".join(drawn.choices(words, k=N_WORDS)) for _ in range(n_reviews)]


def make(options: Figures) -> Figures:
    """Writes a table of made reviews, the rows from `first` on; the `edited` first rows get another text."""
    first, rows = options.get("first", 0), options["rows"]
    texts = texts_of(first + rows)[first:]
    for row in range(options.get("edited", 0)):
        texts[row] = " ".join(reversed(texts[row].split()))
    ids = [f"r{row}" for row in range(first, first + rows)]
    table = pl.DataFrame({"id": ids, "text": texts})
    if options.get("as_text"):
        Path(options["output"]).write_text("\n".join(texts), encoding="utf-8")
    else:
        table.write_parquet(options["output"])
    return {"rows": table.height, "distinct": table["text"].n_unique()}


def text_tokens(options: Figures) -> Figures:
    """Counts what the texts of the first rows alone would take as the endpoint counts tokens, at four bytes each."""
    table = pl.read_parquet(options["table"], n_rows=options["rows"])
    columns = [name for name in ("title", "text") if name in table.columns]
    n_bytes = sum(int(table[name].str.len_bytes().sum()) for name in columns)
    return {"text_tokens": n_bytes // 4, "text_tokens_a_row": round(n_bytes / 4 / table.height, 2)}


def ask(options: Figures) -> Figures:
    """Asks reviews singly through the pool, with the ledger and without the archive; what asking took, by the request.

    CPU is this process's from the first request to the last answer, all threads, without start-up.
    """
    merged = config.load({"ask.threads": options["threads"], "ask.model": MODEL}, environment={})[0]
    own = ModelSettings(
        model="small", base_url=options["url"], simulated=True, logprobs=options["logprobs"],
        price=OwnPrice(input_usd=0.05, output_usd=0.4),
    )  # fmt: skip
    task, home = config.load_task("sentiment"), Path(options["home"])
    questions = [Question(at=at, text=text, n_tokens=20) for at, text in enumerate(texts_of(options["rows"]))]
    model = open_model(MODEL, own, task, threads=options["threads"], memory=home / "models.json", environment={})
    with Purse(home / "spend", run_id="benchmark", model=model.model, endpoint=model.endpoint) as purse:
        paying = Paying(prices.find(own, MODEL), purse)
        with Pool(model, task, paying, merged.ask) as pool:
            before, began_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            n_answered = 0
            for done in pool.ask((question,) for question in questions):
                n_answered += sum(one.answer is not None for one in done)
                paying.forget([one.question.at for one in done])
            took_s, after = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_SELF)
    model.close()
    user_s, system_s = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    n_requests = sum(pool.counts.outcomes.values())
    return {
        "rows": len(questions),
        "answered": n_answered,
        "cpu_ms_a_request": round(1000 * (user_s + system_s) / n_requests, 4),
        "user_ms_a_request": round(1000 * user_s / n_requests, 4),
        "system_ms_a_request": round(1000 * system_s / n_requests, 4),
        "requests_per_s": round(n_requests / took_s, 1),
        "asking_s": round(took_s, 3),
    }


if __name__ == "__main__":
    run({"make": make, "text_tokens": text_tokens, "ask": ask})
