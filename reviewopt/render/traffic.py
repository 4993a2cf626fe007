"""What went over the wire, and how endpoints and GPUs did, as lines for a terminal; none where there is no news."""

from __future__ import annotations

from collections.abc import Iterator

from reviewopt.data import EndpointHealth
from reviewopt.hardware import Spread
from reviewopt.record import AskRecord
from reviewopt.render.parts import UNKNOWN, percent, usd


def wire_lines(asked: AskRecord) -> Iterator[str]:
    """Say what the prompt cache saved, what was kept of cut replies, what compression did, and who was down."""
    tokens, traffic = asked.tokens, asked.traffic
    if tokens.cached and asked.cache_saved_usd is not None:
        share = percent(tokens.cached / tokens.input)
        yield f"prompt cache of the endpoint: {share} of the input tokens, {usd(asked.cache_saved_usd)} saved"
    if asked.n_kept_of_cut:
        yield f"{asked.n_kept_of_cut:,} answers were kept of cut replies; only the unfinished ones were asked again"
    for words, whole, wire in (
        ("requests", traffic.sent_bytes, traffic.sent_wire_bytes),
        ("replies", traffic.received_bytes, traffic.received_wire_bytes),
    ):
        if 0 < wire < whole:
            yield f"{words} compressed: {_size(whole)} as {_size(wire)} on the wire ({whole / wire:.1f} to 1)"
    for gpu in asked.hardware.gpus if asked.hardware is not None else ():
        yield f"GPU {gpu.name}: {_share(gpu.memory_share)} of its memory used, utilisation {_share(gpu.utilisation)}"
    if asked.hardware is not None and asked.hardware.n_halved:
        yield (
            f"{asked.hardware.n_halved:,} packs were made smaller because the GPU's memory was nearly full, and asking "
            f"waited {asked.hardware.waited_s:.0f} s for it"
        )
    if len(traffic.endpoints) > 1:
        yield f"endpoints: {'; '.join(map(_health, traffic.endpoints))}"


def _health(one: EndpointHealth) -> str:
    counts = {
        "failed": one.n_failed,
        "rate limited": one.n_rate_limited,
    }
    word = "request" if one.n_requests == 1 else "requests"
    said = [f"{one.n_requests:,} {word}", *(f"{n:,} {words}" for words, n in counts.items() if n)]
    if one.n_cooldowns:
        said.append(f"left alone {one.n_cooldowns} time{'' if one.n_cooldowns == 1 else 's'}")
    if one.mean_s is not None:
        said.append(f"{one.mean_s:.2f} s each")
    if not one.is_up:
        said.append("down at the end")
    return f"{f'{one.region} ' if one.region else ''}{one.endpoint}: {', '.join(said)}"


def _share(spread: Spread | None) -> str:
    return UNKNOWN if spread is None else f"{percent(spread.mean)} (at most {percent(spread.most)})"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:,.1f} kB"
