"""How the endpoint for tests sends its replies: errors, redirects, bombs, and connections that break or drag on."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import NamedTuple

# Status, the endpoint's own code and the parameter that it names.
ERRORS: dict[str, tuple[int, str, str | None]] = {
    "429": (429, "rate_limit_exceeded", None),
    "500": (500, "server_error", None),
    "503": (503, "overloaded", None),
    "bad_key": (401, "invalid_api_key", None),
    "quota": (429, "insufficient_quota", None),
    "no_model": (404, "model_not_found", "model"),
    "unsupported_schema": (400, "unsupported_parameter", "response_format"),
    "unsupported_logprobs": (400, "unsupported_parameter", "logprobs"),
    "unsupported_stream": (400, "unsupported_parameter", "stream_options"),
    "unsupported_cache_key": (400, "unsupported_parameter", "prompt_cache_key"),
    "unsupported_gzip": (415, "unsupported_media_type", None),
    "not_found": (404, "not_found", None),
    "bad_request": (400, "invalid_request", None),
}
# Nothing is charged for these.
FREE = (*ERRORS, "html", "error_200", "redirect", "gzip_bomb", "big_body")
# The reply is right, but does not arrive as it should. It is charged: an endpoint that did the work does so too.
LOST = ("drop", "drop_mid", "hang", "trickle")
BIG_BODY_BYTES = 100_000_000
STREAM = {"Content-Type": "text/event-stream"}


class Wire(NamedTuple):
    """The two ends of a client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def send(
    wire: Wire,
    fault: str,
    reply: bytes | list[bytes],
    retry_after_s: float | None,
    *,
    on_sent: Callable[[int], None],
    hang_s: float,
    pause_s: float,
    headers: Mapping[str, str],
) -> None:
    """Send a reply as the fault wants it; the events of one that comes in pieces are a list.

    `on_sent` gets its status, 0 where the client gets none, before the last byte goes out: a client that has read the
    reply finds it counted.
    """
    reader, writer = wire
    if isinstance(reply, list):
        await _send_events(writer, reply, headers, on_sent, is_whole=fault != "drop_mid")
        return
    match fault:
        case "drop" | "hang" | "drop_mid":
            if fault == "hang":
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), hang_s)  # ends at once when the client gives up
            on_sent(0)
            if fault == "drop_mid":
                await _write(writer, _head(200, len(reply)) + reply[: len(reply) // 2])
                writer.close()
            else:
                writer.transport.abort()
            return
        case "trickle":
            await _write(writer, _head(200, len(reply)))
            for at in range(len(reply) - 1):
                await _write(writer, reply[at : at + 1])
                await asyncio.sleep(pause_s)
            status, last = 200, reply[-1:]
        case "big_body":
            await _write(writer, _head(200, None))
            for _ in range(BIG_BODY_BYTES // 100_000):
                await _write(writer, b"186a0\r\n" + b" " * 100_000 + b"\r\n")
            status, last = 200, b"0\r\n\r\n"
        case _:
            status, body, more = _whole(fault, reply, retry_after_s)
            if headers.get("Content-Encoding") == "gzip" and "Content-Encoding" not in more:
                body = gzip.compress(body)
            last = _head(status, len(body), {**headers, **more}) + body
    on_sent(status)
    await _write(writer, last)


async def _send_events(
    writer: asyncio.StreamWriter,
    events: list[bytes],
    headers: Mapping[str, str],
    on_sent: Callable[[int], None],
    *,
    is_whole: bool,
) -> None:
    """Send a reply in pieces; one that breaks off answers as far as it goes."""
    if headers.get("Content-Encoding") == "gzip":
        packer = zlib.compressobj(wbits=31)
        events = [packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in events]
        events += [packer.flush()] if is_whole else []
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    on_sent(200)
    await _write(writer, _head(200, None, {**headers, **STREAM}) + chunks + (b"0\r\n\r\n" if is_whole else b""))
    if not is_whole:
        writer.close()


def _whole(fault: str, reply: bytes, retry_after_s: float | None) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and further headers of a reply that is sent at once."""
    match fault:
        case "redirect":
            return 307, b"", {"Location": "/v1/elsewhere"}
        case "html":
            return 200, b"<html><body>Bad gateway</body></html>", {"Content-Type": "text/html"}
        case "gzip_bomb":
            return 200, _bomb(), {"Content-Encoding": "gzip"}
        case "error_200":
            return 200, _error("server_error", None), {}
    if fault not in ERRORS:
        return 200, reply, {}
    status, code, param = ERRORS[fault]
    comes_again = retry_after_s is not None and fault in {"429", "503"}
    return status, _error(code, param), {"Retry-After": f"{retry_after_s:.3f}"} if comes_again else {}


@cache
def _bomb() -> bytes:
    """1 GB of spaces, as a hundred members of 10 MB."""
    return gzip.compress(b" " * 10_000_000) * 100


def _error(code: str, param: str | None) -> bytes:
    about = f"'{param}' is not supported by this model" if code == "unsupported_parameter" else f"no: {code}"
    return json.dumps({"error": {"message": about, "type": code, "param": param, "code": code}}).encode()


def _head(status: int, n_bytes: int | None, more: dict[str, str] | None = None) -> bytes:
    length = {"Transfer-Encoding": "chunked"} if n_bytes is None else {"Content-Length": str(n_bytes)}
    lines = {"Content-Type": "application/json", **length, **(more or {})}
    return "\r\n".join([f"HTTP/1.1 {status} -", *(f"{k}: {v}" for k, v in lines.items()), "", ""]).encode()


async def _write(writer: asyncio.StreamWriter, part: bytes) -> None:
    writer.write(part)
    await writer.drain()
