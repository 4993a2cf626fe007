"""One request that says whether an endpoint is there; what is judged of it stands in test_doctor.py."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from served import http, serve

from reviewopt.models.probe import Probed, probe
from reviewopt.settings import ModelSettings


def probed(base_url: str, environment: Mapping[str, str] | None = None, **settings: str) -> Probed:
    model = ModelSettings(model="m", base_url=base_url, **settings)  # type: ignore[arg-type]
    (one,) = probe("mine", model, environment=environment or {}, deadline_s=10)
    return one


def test_the_list_of_models_is_asked_for_once_and_nothing_is_followed() -> None:
    with serve(http(b"", 302, location="/elsewhere")) as served:
        found = probed(served.base_url)
    assert (found.status, found.problem, found.endpoint) == (302, "", served.base_url)
    assert [one.line for one in served.asked] == ["GET /v1/models HTTP/1.1"]
    assert served.n_connections == 1
    assert "authorization" not in served.asked[0].headers


def test_without_its_key_an_endpoint_is_not_asked() -> None:
    with serve(http(b"{}")) as served:
        found = probed(served.base_url, api_key_env="MY_KEY")
    assert (found.status, found.problem, served.n_connections) == (0, "its key is not set", 0)


def test_the_key_goes_under_the_header_that_the_settings_name() -> None:
    with serve(http(b"{}")) as served:
        probed(served.base_url, {"MY_KEY": "k"}, api_key_env="MY_KEY", api_key_header="Api-Key")
    assert served.asked[0].headers["api-key"] == "k"


@pytest.mark.parametrize("header", ["a\nb", "é"])
def test_a_header_that_is_none_is_told_without_the_key(header: str) -> None:
    with serve(http(b"{}")) as served:
        found = probed(served.base_url, {"MY_KEY": "sk-1"}, api_key_env="MY_KEY", api_key_header=header)
    assert (found.status, found.problem, served.asked) == (0, "its api_key_header is no header", [])


def test_a_certificate_of_its_own_is_not_trusted() -> None:
    with serve(http(b"{}"), tls=True) as served:
        found = probed(served.base_url)
    assert found.status == 0
    assert "certificate is not trusted" in found.problem
