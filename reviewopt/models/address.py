"""Where a model may be reached: what a base address looks like, and which machines are never talked to by chance."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, urlsplit

from reviewopt.errors import UsageError

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

# Names and addresses under which clouds hand out credentials to whoever asks from inside.
_METADATA_HOSTS: Final = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_METADATA_ADDRESSES: Final = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254", "192.0.0.192")))
# An IPv6 address of this network stands for the IPv4 address in its last 32 bits (RFC 6052).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_ALLOW: Final = "set allow_address = true if it is meant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A base address, taken apart; `path` ends in no slash, `query` is kept for every request."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str
    query: str

    @property
    def authority(self) -> str:
        """Host and, where it is not the scheme's own, port, as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @property
    def endpoint(self) -> str:
        """The address for people and for keys of the archive: no query, which could hold a secret."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def query_digest(self) -> str:
        """Tells queries apart without repeating one, which could hold a secret; empty where there is none."""
        return hashlib.sha256(self.query.encode()).hexdigest()[:16] if self.query else ""

    @property
    def is_loopback(self) -> bool:
        """Whether it names this machine itself."""
        return is_this_machine(self.host)

    def target(self, path: str) -> str:
        """What stands in a request's first line for `path` below the base address; added once only."""
        whole = self.path if self.path.endswith(path) else self.path + path
        return f"{whole}?{self.query}" if self.query else whole


def parse(base_url: str, *, where: str, allow_address: bool = False) -> Address:
    """Take a base address apart and check it.

    Args:
        base_url: `https://host[:port][/path][?query]`.
        where: the setting that holds it, for messages.
        allow_address: also plain http, and addresses that are refused otherwise.

    Raises:
        UsageError: it is no such address, or one that must be allowed first.
    """
    try:
        parts = urlsplit(base_url.strip())
        port, host = parts.port, (parts.hostname or "").rstrip(".")
        host = host if ":" in host else host.encode("idna").decode()
    except ValueError as error:
        raise UsageError(f"{where} is not an address; write https://HOST/PATH") from error
    if not host or parts.scheme not in {"http", "https"}:
        raise UsageError(f"{where} is not an address that starts with https:// (or http:// on this machine)")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{where} holds a user name or password; put the key into a variable of the environment and name it with "
            "api_key_env"
        )
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    if not allow_address:
        literal = _literal(host)
        if host in _METADATA_HOSTS or (literal is not None and is_private_service(literal)):
            raise UsageError(f"{where}: {host} is a link-local or metadata address; {_ALLOW}")
        if scheme == "http" and not is_this_machine(host):
            raise UsageError(f"{where}: http sends key and reviews in the clear; use https, or {_ALLOW}")
    return Address(
        scheme=scheme,
        host=host,
        port=port if port is not None else (443 if scheme == "https" else 80),
        path=quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~-._"),
        query=quote(parts.query, safe="/?%:@!$&'()*+,;=~-._"),
    )


def refusal(address: str, *, scheme: str) -> str | None:
    """Say why a connection to this numeric address is refused, or None; for what a name was resolved to."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if is_private_service(ip):
        return f"its name leads to the link-local or metadata address {ip}; {_ALLOW}"
    if scheme == "http" and not ip.is_loopback:
        return f"http sends key and reviews in the clear, and its name leads to {ip}; use https, or {_ALLOW}"
    return None


def is_private_service(ip: IP) -> bool:
    """Whether this is a link-local, metadata, unspecified or multicast address, also one wrapped into IPv6."""
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is not None and is_private_service(wrapped):
            return True
    return ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA_ADDRESSES


def is_this_machine(host: str) -> bool:
    """Whether a host's name or number is that of this machine, without looking it up."""
    literal = _literal(host)
    return host == "localhost" or (literal is not None and literal.is_loopback)


def _literal(host: str) -> IP | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
