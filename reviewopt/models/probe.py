"""Is an endpoint there, and does it take the key? One request that asks for nothing but the list of its models."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final

from reviewopt import __version__
from reviewopt.errors import UsageError
from reviewopt.models.address import Address, parse
from reviewopt.models.dialing import Dialer, Flight, reason
from reviewopt.settings import EndpointSettings, ModelSettings

_PATH: Final = "/models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What one endpoint said: `status` is 0 where it said nothing, and `problem` is then why, without any key in it.

    `key_variable` is that of its key, empty where it needs none.
    """

    endpoint: str
    key_variable: str
    status: int
    seconds: float
    problem: str = ""


def probe(name: str, settings: ModelSettings, *, environment: Mapping[str, str], deadline_s: float) -> Iterator[Probed]:
    """Ask each endpoint of a model for the list of its models, `deadline_s` seconds each at most.

    Only the status is read, and no redirect is followed. An address that must be allowed first is not asked.
    """
    first = (EndpointSettings(base_url=settings.base_url),) if settings.base_url else ()
    for given in (*first, *settings.endpoints):
        variable = settings.api_key_env if given.api_key_env is None else given.api_key_env
        key = environment.get(variable, "").strip() if variable else ""
        try:
            address = parse(given.base_url, where=f"the base_url of {name}", allow_address=settings.allow_address)
        except UsageError as error:
            yield Probed(endpoint="", key_variable=variable, status=0, seconds=0.0, problem=str(error))
            continue
        started = time.monotonic()
        status, problem = 0, "its key is not set"
        if not (key.isascii() and key.isprintable()):
            problem = f"{variable} holds no key: it has signs in it that no key has"
        elif key or not variable:
            status, problem = _status(address, _headers(settings, key), settings, deadline_s)
        yield Probed(
            endpoint=address.endpoint,
            key_variable=variable,
            status=status,
            seconds=time.monotonic() - started,
            problem=problem,
        )


def _headers(settings: ModelSettings, key: str) -> dict[str, str]:
    header = settings.api_key_header.lower()
    own = {"user-agent": f"reviewopt/{__version__}", "accept-encoding": "identity", "connection": "close"}
    return own | ({header: f"Bearer {key}" if header == "authorization" else key} if key else {})


def _status(
    address: Address, headers: Mapping[str, str], settings: ModelSettings, deadline_s: float
) -> tuple[int, str]:
    """Return the status of the reply, or 0 and why there is none."""
    flight = Flight(time.monotonic() + deadline_s)
    late = threading.Timer(deadline_s, flight.end, ("late",))  # a time-out of the socket would start anew at every byte
    late.daemon = True
    late.start()
    connection = HTTPConnection(address.host, address.port)  # not urllib3's, which logs an address whose reply is odd
    connection.auto_open = 0  # never connect to what was not checked
    status, problem = 0, ""
    try:
        connection.sock = Dialer(address, allow_address=settings.allow_address).dial(flight)
    except (OSError, UnicodeError) as error:
        late.cancel()
        return 0, reason(error)
    try:
        connection.request("GET", address.target(_PATH), headers=headers)
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        problem = f"the connection broke ({type(error).__name__})"
    except ValueError:  # it may repeat the header, which holds the key
        problem = "its api_key_header is no header"
    finally:
        late.cancel()
        flight.land()
        connection.close()
    # Headers that were cut can look whole.
    return (0, "no reply before the deadline") if flight.over else (status, problem)
