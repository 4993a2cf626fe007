"""Where a model may be reached."""

from __future__ import annotations

import pytest

from reviewopt.errors import UsageError
from reviewopt.models import address


def test_a_base_address_keeps_its_path_and_query() -> None:
    found = address.parse("https://Host.example/openai/v1/?api-version=2024-10-21", where="x")
    assert found.target("/chat/completions") == "/openai/v1/chat/completions?api-version=2024-10-21"
    assert found.endpoint == "https://host.example/openai/v1"


def test_a_path_that_is_there_already_is_not_added_again() -> None:
    assert address.parse("https://h.example/v1/chat/completions", where="x").target("/chat/completions") == (
        "/v1/chat/completions"
    )


@pytest.mark.parametrize(
    ("base_url", "authority"),
    [
        ("https://h.example", "h.example"),
        ("https://h.example:443", "h.example"),
        ("https://h.example:8443", "h.example:8443"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://127.0.0.9", "127.0.0.9"),
        ("http://localhost", "localhost"),
        ("https://bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_host_header_names_a_port_only_where_it_is_not_the_schemes(base_url: str, authority: str) -> None:
    assert address.parse(base_url, where="x").authority == authority


@pytest.mark.parametrize(
    "base_url",
    [
        "", "h.example/v1", "ftp://h.example", "https://", "https://h:port", "https://h:99999", "https://[::1", "//h",
        "https://" + "a" * 70 + ".example", "https://a..b",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(base_url: str) -> None:
    with pytest.raises(UsageError, match="is not an address"):
        address.parse(base_url, where="the base_url of x")


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="api_key_env") as raised:
        address.parse("https://me:canary@h.example", where="x")
    assert "canary" not in str(raised.value)


REFUSED = [
    "http://h.example", "http://10.0.0.1", "https://169.254.169.254", "http://169.254.169.254", "https://[fe80::1]",
    "https://[fd00:ec2::254]", "https://100.100.100.200", "https://metadata.google.internal", "https://0.0.0.0",
    "https://metadata.google.internal.", "https://[::ffff:169.254.169.254]", "https://[64:ff9b::a9fe:a9fe]",
    "https://[2002:a9fe:a9fe::1]", "https://[fe80::1%25eth0]",
]  # fmt: skip


@pytest.mark.parametrize("base_url", REFUSED)
def test_metadata_link_local_and_plain_addresses_must_be_allowed_first(base_url: str) -> None:
    with pytest.raises(UsageError, match="allow_address = true"):
        address.parse(base_url, where="x")
    assert address.parse(base_url, where="x", allow_address=True)


@pytest.mark.parametrize(
    ("ip", "scheme", "is_refused"),
    [
        ("169.254.169.254", "https", True),
        ("fe80::1%eth0", "https", True),
        ("::ffff:169.254.1.1", "https", True),
        ("10.0.0.1", "https", False),
        ("10.0.0.1", "http", True),
        ("127.8.8.8", "http", False),
        ("::1", "http", False),
        ("8.8.8.8", "https", False),
    ],
)
def test_what_a_name_leads_to_is_judged_as_well(ip: str, scheme: str, is_refused: bool) -> None:
    assert bool(address.refusal(ip, scheme=scheme)) is is_refused
