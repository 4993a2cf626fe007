"""Whether requests go out compressed: only to an endpoint that says it takes them so, and while it does.

An endpoint says so in the header Accept-Encoding of a reply (RFC 7694). One that then refuses is believed as well.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from typing import Final, Literal

# Higher levels take half as much time again and save 2 % (`levels` in tests/benchmarks/results/streaming.json).
LEVEL: Final = 4
# A smaller body fits into one packet as it is.
LEAST_BYTES: Final = 1_024
_GZIP_WINDOW: Final = 31  # zlib's way of saying gzip, whose header holds no time then


class Packing:
    """What is known of how an endpoint takes compressed requests; told from many threads at once."""

    def __init__(self, *, on: bool) -> None:
        # unknown -> said (it claims to) -> proven (it did); off: never again in this run.
        self._state: Literal["unknown", "said", "proven", "off"] = "unknown" if on else "off"
        self._lock = threading.Lock()

    def packed(self, body: bytes) -> bytes | None:
        """Return the body as gzip, or None where it shall go as it is."""
        if self._state not in {"said", "proven"} or len(body) < LEAST_BYTES:
            return None
        packer = zlib.compressobj(LEVEL, wbits=_GZIP_WINDOW)
        return packer.compress(body) + packer.flush()

    def learn(self, status: int, headers: Mapping[str, str], *, was_packed: bool) -> None:
        """Take note of what a reply says about compression."""
        with self._lock:
            if was_packed and self._is_refusal(status):
                self._state = "off"
            elif was_packed and 200 <= status < 300 and self._state == "said":
                self._state = "proven"
            elif self._state == "unknown" and 200 <= status < 300 and _takes_gzip(headers.get("accept-encoding") or ""):
                self._state = "said"

    def is_refused(self, status: int) -> bool:
        """Whether a compressed request that ended so is to be sent again as it is."""
        return self._state == "off" and status in {400, 415}

    def _is_refusal(self, status: int) -> bool:
        """A 415 always is one; a 400 may have another reason once compressed requests were understood."""
        return status == 415 or (status == 400 and self._state != "proven")


def _takes_gzip(accepted: str) -> bool:
    """Whether a list of encodings holds gzip with a weight above nothing."""
    for one in accepted.lower().split(","):
        name, _, weight = one.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
