"""One run of another client over the same reviews, one request each; `clients.py` runs it with the peers' own Python.

    PEERS/bin/python tests/benchmarks/asking_peers.py openai '{"url": "http://127.0.0.1:8081/v1", ...}'

Only the standard library and the peer are needed. What came out goes into the file that `answer` names.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

LABELS = ("negative", "neutral", "positive")
INSTRUCTIONS = (
    f"Decide how the customer feels about the product as a whole. Answer with one word.\nlabels: {', '.join(LABELS)}"
)
MODEL = "small"

Figures = dict[str, Any]


def openai(texts: list[str], options: Figures) -> int:
    """The SDK as its readme shows, called from threads; one that raises is lost. Returns how many were not."""
    package = importlib.import_module("openai")
    retries = {} if options["max_retries"] is None else {"max_retries": options["max_retries"]}
    client = package.OpenAI(api_key="none", base_url=options["url"], **retries)

    def one(text: str) -> bool:
        messages = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": text}]
        try:
            reply = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
        except package.OpenAIError:
            return False
        return reply.choices[0].message.content in LABELS

    with ThreadPoolExecutor(options["threads"]) as threads:
        return sum(threads.map(one, texts))


def curator(texts: list[str], options: Figures) -> int:
    """Curator as its readme shows, its cache in the folder `cache`. Returns how many answers are labels."""
    tokenizers = importlib.util.find_spec("litellm")
    if tokenizers is not None and tokenizers.origin is not None:  # the vocabulary that it would fetch from the network
        folder = Path(tokenizers.origin).parent / "litellm_core_utils" / "tokenizers"
        os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    package = importlib.import_module("bespokelabs.curator")

    class Labeller(package.LLM):  # type: ignore[misc, name-defined]
        def prompt(self, row: Figures) -> str:
            return str(row["text"])

        def parse(self, row: Figures, response: str) -> Figures:
            return {"text": row["text"], "label": response}

    given = {"base_url": options["url"], "max_concurrent_requests": options["threads"]} | options["settings"]
    labeller = Labeller(model_name=MODEL, backend="openai", backend_params=given, system_prompt=INSTRUCTIONS)
    rows = labeller([{"text": text} for text in texts], working_dir=options["cache"]).dataset
    return sum(row["label"] in LABELS for row in rows)


def installed(_texts: list[str], options: Figures) -> int:
    """Whether a package can be imported at all."""
    importlib.import_module(options["module"])
    return 0


PEERS: dict[str, Callable[[list[str], Figures], int]] = {"openai": openai, "curator": curator, "installed": installed}


def main() -> None:
    """Runs the peer that the command line names; a run that takes too long is ended by the system's alarm."""
    options = json.loads(sys.argv[2])
    signal.alarm(options["most_s"])
    texts = Path(options["texts"]).read_text(encoding="utf-8").splitlines() if options.get("texts") else []
    n_answered = PEERS[sys.argv[1]](texts, options)
    version = metadata.version(options["package"])
    Path(options["answer"]).write_text(json.dumps({"answered": n_answered, "version": version}), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # threads that a peer leaves behind do not count as its work


if __name__ == "__main__":
    main()
