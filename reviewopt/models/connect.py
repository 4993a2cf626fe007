"""The way to a model: its endpoints with their keys, and what becomes of a request where one of them fails."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from reviewopt.data import Outcome, Request, Traffic
from reviewopt.errors import ModelError, UsageError
from reviewopt.models import replies
from reviewopt.models.address import Address, parse
from reviewopt.models.balance import COOLDOWN_S, Balance, How, Turn
from reviewopt.models.dialing import CONNECT_S
from reviewopt.models.http import Client, Exchange
from reviewopt.models.reasons import Caller
from reviewopt.settings import EndpointSettings, ModelSettings

_HEADER: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
_OWN_HEADERS: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "host", "transfer-encoding", "user-agent"}
)
# What nothing was charged for.
_FREE: Final[frozenset[Outcome]] = frozenset({"rate_limited", "unavailable", "hopeless"})
# How an exchange ended does not hang on what was asked.
_ANY_REQUEST: Final = Request(questions=(), ids=(), body=b"", most_output_tokens=0)


class Poster(Protocol):
    """Posts to one address from many threads at once; counts bodies in bytes, and what they took on the wire."""

    sent_bytes: int
    sent_wire_bytes: int
    received_bytes: int
    received_wire_bytes: int

    def post(self, body: bytes, deadline_s: float) -> Exchange:
        """Send a body and read the reply, all within `deadline_s` seconds; failures are told, not raised."""

    def close(self) -> None:
        """Give up every connection; requests under way end at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One endpoint: the way there, and what a reason may say of it."""

    poster: Poster
    caller: Caller
    region: str = ""
    weight: float = 1.0


class Connection:
    """The way to one model, over one or several endpoints; `post` is called from many threads at once.

    `endpoint` is the primary one's address, for people. `decisive` is what the connection adds to the settings that
    decide the model's answers: the primary endpoint alone, as the user says that the others are the same model.
    `place` is `host` where the primary one is on this machine.
    """

    endpoint: str
    decisive: Mapping[str, str]
    place: Literal["host", "remote"]

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        decisive: Mapping[str, str],
        place: Literal["host", "remote"],
        how: How = "priority",
        cooldown_s: float = COOLDOWN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = routes[0].caller.endpoint
        self.decisive = decisive
        self.place = place
        self._routes = tuple(routes)
        self._clock = clock
        self._balance = Balance([route.weight for route in routes], how, clock=clock, cooldown_s=cooldown_s)
        self._hopeless: Exchange | None = None
        self._lost_at: dict[int, int] = {}

    def post(self, body: bytes, deadline_s: float, about: Collection[int] = ()) -> Exchange:
        """Send a body and read the reply, all within `deadline_s` seconds; failures are told, not raised.

        Where a request was certainly not charged, the next endpoint gets it at once. Where it may have been, it is not
        sent again: that is for whoever pays to decide. `about` are numbers of what it asks about: a later request about
        one of them then goes to another endpoint, as far as one works.
        """
        started = self._clock()
        lost_at = {self._lost_at[one] for one in about if one in self._lost_at} if self._lost_at else set()
        failed: dict[int, tuple[Outcome, Exchange]] = {}
        left_s = deadline_s
        while left_s > 0 and (turn := self._choose(failed, lost_at)) is not None:
            outcome, exchange = self._take(turn, body, left_s)
            exchange = replace(exchange, via=turn.at, seconds=self._clock() - started)
            if outcome not in _FREE or len(self._routes) == 1:
                self._remember(about, turn.at if outcome == "no_reply" else None)
                return exchange
            failed[turn.at] = outcome, exchange
            left_s = deadline_s - exchange.seconds
        return self._told(failed)

    def caller(self, exchange: Exchange) -> Caller:
        """Return whom an exchange was with."""
        return self._routes[exchange.via].caller

    def traffic(self) -> Traffic:
        """Return what went over the wire so far, and how each endpoint did."""
        return Traffic(
            endpoints=tuple(
                self._balance.health(at, endpoint=route.caller.endpoint, region=route.region)
                for at, route in enumerate(self._routes)
            ),
            sent_bytes=sum(route.poster.sent_bytes for route in self._routes),
            sent_wire_bytes=sum(route.poster.sent_wire_bytes for route in self._routes),
            received_bytes=sum(route.poster.received_bytes for route in self._routes),
            received_wire_bytes=sum(route.poster.received_wire_bytes for route in self._routes),
        )

    def close(self) -> None:
        """Give up every connection; requests under way end at once."""
        for route in self._routes:
            route.poster.close()

    def _choose(self, failed: Collection[int], lost_at: Collection[int]) -> Turn | None:
        """Give a request to an endpoint that neither refused nor lost it, or else to one that did not refuse it."""
        if lost_at and (turn := self._balance.choose({*failed, *lost_at})) is not None:
            return turn
        return self._balance.choose(failed)

    def _remember(self, about: Collection[int], lost_at: int | None) -> None:
        """Note where a request about these was lost, or that it came through."""
        if lost_at is not None:
            self._lost_at.update(dict.fromkeys(about, lost_at))
        elif self._lost_at:
            for one in about:
                self._lost_at.pop(one, None)

    def _take(self, turn: Turn, body: bytes, left_s: float) -> tuple[Outcome, Exchange]:
        """Post to one endpoint, and note how it did."""
        route, sent_s = self._routes[turn.at], self._clock()
        outcome: Outcome = "no_reply"
        wait_s: float | None = None
        try:
            exchange = route.poster.post(body, left_s)
            wrong = replies.failed(exchange, _ANY_REQUEST, route.caller)
            outcome, wait_s = (wrong.outcome, wrong.retry_after_s) if wrong else ("answered", None)
            if outcome == "hopeless":
                self._hopeless = replace(exchange, via=turn.at)
        finally:
            self._balance.came_back(turn, outcome, seconds=self._clock() - sent_s, retry_after_s=wait_s)
        return outcome, exchange

    def _told(self, failed: Mapping[int, tuple[Outcome, Exchange]]) -> Exchange:
        """Return what is told of a request that no endpoint took."""
        if wait_s := self._balance.wait_s():
            return Exchange(seconds=0.0, status=429, headers={"retry-after": f"{wait_s:.3f}"})
        for wanted in ("unavailable", "rate_limited"):
            for outcome, exchange in failed.values():
                if outcome == wanted:
                    return exchange
        if self._balance.is_hopeless and self._hopeless is not None:
            return self._hopeless
        reason = "it and all others failed several times in a row, and are tried by one request at a time"
        return Exchange(seconds=0.0, headers={}, problem="unsent", reason=reason)


def connect(
    name: str,
    settings: ModelSettings,
    *,
    path: str,
    threads: int,
    environment: Mapping[str, str],
    cooldown_s: float = COOLDOWN_S,
) -> Connection:
    """Make the connection to a model; nothing is sent yet.

    Args:
        name: the model's, for messages.
        settings: what the user says of the model.
        path: what a request adds to the base address.
        threads: how many requests go at a time, at most.
        environment: where the keys are.
        cooldown_s: how long one of several endpoints that keeps failing is left alone at first.

    Raises:
        UsageError: no base address, one that cannot be meant, or no such header for a key.
        ModelError: the variable of a key is not set.
    """
    if not settings.primary_url:
        raise UsageError(
            f'{name} has no address; write base_url = "https://HOST/PATH" below [models.{name}], or, for several '
            f"endpoints of the same model, one [[models.{name}.endpoints]] with its base_url each"
        )
    header = _key_header(name, settings)
    found: list[tuple[EndpointSettings, Address, Caller]] = []
    for where, given in _given(name, settings):
        address = parse(given.base_url, where=where, allow_address=settings.allow_address)
        variable = _variable(given, settings)
        key = _key(name, variable, environment)
        caller = Caller(endpoint=address.endpoint, model=settings.model, key_variable=variable, key=key)
        found.append((given, address, caller))
    primary = found[0][1]
    routes = [
        Route(
            poster=Client(
                address,
                {header: f"Bearer {caller.key}" if header == "authorization" else caller.key} if caller.key else {},
                path=path,
                threads=threads,
                allow_address=settings.allow_address,
                compress=settings.compress and not address.is_loopback,  # there it costs more than it saves
                connect_s=CONNECT_S if len(found) > 1 else math.inf,  # the others wait for it
            ),
            caller=caller,
            region=given.region,
            weight=given.weight,
        )
        for given, address, caller in found
    ]
    decisive = {"base_url": primary.endpoint}
    if primary.query:
        decisive["query"] = primary.query_digest
    place: Literal["host", "remote"] = "host" if primary.is_loopback else "remote"
    return Connection(routes, decisive=decisive, place=place, how=settings.balance, cooldown_s=cooldown_s)


def key_variables(settings: ModelSettings) -> tuple[str, ...]:
    """Return the variables of the environment that hold a model's keys, each once."""
    named = [_variable(given, settings) for _, given in _given("", settings)]
    return tuple(dict.fromkeys(filter(None, named)))


def _given(name: str, settings: ModelSettings) -> Iterator[tuple[str, EndpointSettings]]:
    """Yield the endpoints, the primary one first, each with the setting that names it."""
    if settings.base_url:
        yield f"the base_url of {name}", EndpointSettings(base_url=settings.base_url)
    for at, endpoint in enumerate(settings.endpoints, 1):
        yield f"the base_url of endpoint {at} of {name}", endpoint


def _variable(given: EndpointSettings, settings: ModelSettings) -> str:
    return settings.api_key_env if given.api_key_env is None else given.api_key_env


def _key(name: str, variable: str, environment: Mapping[str, str]) -> str:
    if not variable:
        return ""
    key = environment.get(variable, "").strip()
    if not key:
        raise ModelError(f"the model {name} needs a key: set the variable {variable} to it, or change api_key_env")
    if not (key.isascii() and key.isprintable()):
        raise ModelError(f"the variable {variable} holds no key: it has signs in it that no key has; set it again")
    return key


def _key_header(name: str, settings: ModelSettings) -> str:
    header = settings.api_key_header.lower()
    if not _HEADER.fullmatch(header) or header in _OWN_HEADERS:
        raise UsageError(f"the api_key_header of {name} is no header for a key; write authorization, or api-key")
    return header
