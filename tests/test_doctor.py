"""`reviewopt doctor`: what it looks at, what it says of it, and what it never says."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from archived import opened, put
from conftest import Run
from gpus import GB, FakeGpus
from purses import purse, reserved, settlement
from served import http, serve

from reviewopt import budget, doctor
from reviewopt.doctor import Check, Diagnosis, asked, installed, kept
from reviewopt.doctor.kept import LEAST_FREE_BYTES, LITTLE_FREE_BYTES
from reviewopt.models import cloud

HOME = Path("home")
TODAY = date(2026, 12, 1)
CANARY = "sk-CANARY-47"


def diagnosed(*, endpoints: bool = False, **environment: str) -> Diagnosis:
    return doctor.diagnose(HOME, asks_endpoints=endpoints, environment=environment, today=TODAY)


def named(made: Diagnosis, name: str) -> list[Check]:
    return [check for check in made.checks if check.name == name]


def described(base_url: str = "https://x.test/v1", **settings: str) -> None:
    """Describe the model `mine` in the settings of this folder."""
    lines = {"model": "m", "base_url": base_url, "api_key_env": "MY_KEY", **settings}
    written = "\n".join(f'{name} = "{value}"' for name, value in lines.items())
    Path("reviewopt.toml").write_text(f"[models.mine]\n{written}\n")


def test_in_an_empty_folder_nothing_fails_and_nothing_is_made() -> None:
    made = diagnosed()
    assert made.n_fail == 0
    assert [check.status for name in ("home", "archive", "ledger", "keys") for check in named(made, name)] == ["ok"] * 4
    assert not HOME.exists()
    assert (made.n_ok, made.n_warn, made.n_skipped) == (
        sum(check.status == "ok" for check in made.checks),
        sum(check.status == "warn" for check in made.checks),
        sum(check.status == "skipped" for check in made.checks),
    )


# What is installed


@pytest.mark.parametrize(
    ("version", "bounds", "fits"),
    [
        ("2.1.0", ">=2,<3", True),
        ("3.0", "<3,>=2", False),
        ("2", ">=2.0.0", True),
        ("1.9.9", ">=2", False),
        ("0.10", ">=0.9", True),
        ("2.0rc1", ">=2", True),
        ("1.0", "", True),
        ("1.0", "==1.0.0", True),
    ],
)
def test_versions_are_compared_by_number(version: str, bounds: str, fits: bool) -> None:
    assert installed.is_within(version, bounds) is fits


def test_each_library_of_the_project_is_looked_at_and_no_extra() -> None:
    looked_at: list[str] = []

    def version_of(name: str) -> str:
        looked_at.append(name)
        return metadata.version(name)

    assert installed.libraries(version_of=version_of).status == "ok"
    assert {"polars", "typer", "urllib3"} <= set(looked_at)
    assert not {"pytest", "nvidia-ml-py", "fasttext"} & set(looked_at)


def test_a_library_that_is_missing_or_too_old_fails() -> None:
    def version_of(name: str) -> str:
        if name == "gone":
            raise metadata.PackageNotFoundError(name)
        return "1.5"

    needed = ["gone>=1", "old<3,>=2", "good>=1", 'other>=9; extra == "x"']
    found = installed.libraries(lambda _: needed, version_of)
    assert (found.status, found.found) == ("fail", "gone is missing; old is 1.5, needed is <3,>=2")
    assert found.figures == {"gone": None, "old": "1.5", "good": "1.5"}
    assert found.advice


def test_without_an_installation_versions_are_not_called_right() -> None:
    def unknown(name: str) -> Sequence[str]:
        raise metadata.PackageNotFoundError(name)

    assert installed.libraries(unknown).status == "skipped"


@pytest.mark.parametrize(("after_days", "status"), [(0, "ok"), (180, "ok"), (181, "warn")])
def test_old_prices_are_told(after_days: int, status: str) -> None:
    first = installed.price_age(TODAY)
    oldest = date.fromisoformat(str(first.figures["oldest"]))
    found = installed.price_age(oldest + timedelta(days=after_days))
    assert (found.status, found.figures["age_days"]) == (status, after_days)
    assert "tells no date" in found.found


def test_a_gpu_is_named_and_none_is_no_fault() -> None:
    found = installed.gpu(lambda: FakeGpus([0.25]))
    assert (found.status, found.found) == ("ok", "fake, 20.0 of 80.0 GB used; driver 1.0")
    assert found.figures["memory_total_bytes"] == 80 * GB

    def none() -> FakeGpus:
        raise OSError("there is no driver")

    found = installed.gpu(none)
    assert (found.status, found.figures["n_gpus"], found.figures["memory_used_bytes"]) == ("ok", 0, None)
    assert "there is no driver" in found.found


def test_a_check_whose_library_is_missing_fails_alone() -> None:
    def broken() -> Check:
        raise ModuleNotFoundError("No module named 'polars'")

    assert doctor._made("archive", broken).status == "fail"


# Settings, keys, endpoints


@pytest.mark.parametrize(
    "wrong", ["[proces]\n", "[process]\nthreds = 1\n", "[process]\ntask = 'none'\n", "not toml", "[ask]\nmodel = 'x'\n"]
)
def test_settings_that_no_run_could_use_fail(wrong: str) -> None:
    Path("reviewopt.toml").write_text(wrong)
    made = diagnosed()
    assert next(check.name for check in made.checks if check.status == "fail") in {"settings", "model"}
    assert made.n_fail == 1


def test_settings_are_counted_by_where_they_come_from() -> None:
    described()
    (found,) = named(diagnosed(REVIEWOPT_PROCESS_THREADS="1"), "settings")
    assert found.status == "ok"
    assert "1 from the environment" in found.found
    assert "from reviewopt.toml" in found.found


@pytest.mark.parametrize(("key", "status"), [(CANARY, "ok"), ("", "warn"), ("  ", "warn"), (None, "warn")])
def test_of_a_key_it_is_said_whether_it_is_set_and_nothing_else(key: str | None, status: str) -> None:
    described()
    made = diagnosed() if key is None else diagnosed(MY_KEY=key)
    (found,) = named(made, "keys")
    assert (found.status, found.figures) == (status, {"model": "mine", "MY_KEY": status == "ok"})
    assert ("export MY_KEY=" in found.advice) == (status == "warn")
    assert [check.status for check in named(made, "endpoints")] == ["skipped"]


def test_a_cloud_service_needs_no_address_and_is_not_asked_for_its_models() -> None:
    Path("reviewopt.toml").write_text("[ask]\nmodel = 'cloud:aws'\n")
    made = diagnosed()
    (found,) = named(made, "keys")
    assert (found.status, found.figures) == ("ok", {"model": "aws"})
    assert named(made, "model") == []
    assert list(asked.endpoints({"aws": cloud.settings_of("aws")}, {}, deadline_s=0.2)) == []


def test_a_model_that_is_only_named_is_looked_at_too() -> None:
    Path("reviewopt.toml").write_text("[ladder]\nmodels = 'local, openai:gpt-5-nano'\n")
    (found,) = named(diagnosed(), "keys")
    assert found.figures == {"model": "openai:gpt-5-nano", "OPENAI_API_KEY": False}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (200, "ok"),
        (404, "ok"),
        (401, "fail"),
        (403, "fail"),
        (301, "fail"),
        (429, "warn"),
        (500, "fail"),
        (418, "fail"),
    ],
)
def test_an_endpoint_is_judged_by_its_status_and_asked_once(code: int, status: str) -> None:
    with serve(http(b"{}", code, location="http://localhost:1/elsewhere")) as served:
        described(served.base_url)
        (found,) = named(diagnosed(endpoints=True, MY_KEY=CANARY), "endpoints")
    assert (found.status, found.figures["status"]) == (status, code)
    assert found.figures["seconds"] is not None
    (one,) = served.asked
    assert one.line.split()[:2] == ["GET", "/v1/models"]
    assert one.headers["authorization"] == f"Bearer {CANARY}"
    assert CANARY not in repr(found)


def test_an_endpoint_that_is_not_there_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    described(f"http://localhost:{port}/v1")
    (found,) = named(diagnosed(endpoints=True, MY_KEY=CANARY), "endpoints")
    assert (found.status, found.figures["status"], found.figures["seconds"]) == ("fail", None, None)
    assert "no connection" in found.found


def test_an_endpoint_that_sends_its_headers_for_ever_is_given_up_and_nothing_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def trickle(_: Any, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        while not served.done.wait(0.02):
            sock.sendall(b"x")

    with serve(trickle) as served:
        described(served.base_url)
        merged = asked.settings({})[1]
        assert merged is not None
        (found,) = asked.endpoints(merged.models, {"MY_KEY": CANARY}, deadline_s=0.2)
    assert (found.status, "no reply before the deadline" in found.found) == ("fail", True)
    assert not caplog.records


@pytest.mark.parametrize("key", [f"{CANARY}\nx: y", f"{CANARY}é"])
def test_a_key_that_no_header_can_have_is_not_repeated(key: str) -> None:
    with serve(http(b"{}")) as served:
        described(served.base_url)
        made = diagnosed(endpoints=True, MY_KEY=key)
    assert named(made, "endpoints")[0].status == "fail"
    assert CANARY not in repr(made)


@pytest.mark.parametrize("base_url", ["http://x.test/v1", "http://169.254.169.254/v1", "https://me:pass@x.test"])
def test_an_address_that_no_run_would_ask_is_not_asked(base_url: str) -> None:
    described(base_url)
    (found,) = named(diagnosed(endpoints=True, MY_KEY=CANARY), "endpoints")
    assert (found.status, found.figures["endpoint"]) == ("fail", None)
    assert "pass" not in found.found.replace("password", "")


def test_a_model_without_an_address_fails() -> None:
    Path("reviewopt.toml").write_text("[models.mine]\nmodel = 'm'\n")
    (found,) = named(diagnosed(endpoints=True), "model")
    assert (found.status, found.figures) == ("fail", {"model": "mine"})


def test_each_endpoint_of_a_model_is_asked_with_its_own_key() -> None:
    with serve(http(b"{}")) as first, serve(http(b"{}")) as second:
        described(first.base_url)
        with Path("reviewopt.toml").open("a") as file:
            file.write(f'[[models.mine.endpoints]]\nbase_url = "{second.base_url}"\napi_key_env = "EU_KEY"\n')
        found = named(diagnosed(endpoints=True, MY_KEY="a", EU_KEY="b"), "endpoints")
    assert [check.status for check in found] == ["ok", "ok"]
    assert [one.asked[0].headers["authorization"] for one in (first, second)] == ["Bearer a", "Bearer b"]


# What is kept


def test_a_home_that_others_can_enter_is_warned_of() -> None:
    HOME.mkdir(mode=0o755)
    HOME.chmod(0o755)
    found = kept.permissions(HOME)
    assert (found.status, found.figures["mode"], found.advice) == ("warn", "0755", "chmod 700 home")
    HOME.chmod(0o700)
    assert kept.permissions(HOME).status == "ok"


def test_a_file_in_place_of_the_home_fails() -> None:
    HOME.write_text("")
    assert kept.permissions(HOME).status == "fail"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_home_that_cannot_be_made_or_used_fails() -> None:
    Path("above").mkdir(mode=0o500)
    assert kept.permissions(Path("above") / "home").status == "fail"
    HOME.mkdir(mode=0o000)
    assert kept.permissions(HOME).status == "fail"


def test_free_space_is_judged_by_two_bounds() -> None:
    bounds = (LEAST_FREE_BYTES - 1, LEAST_FREE_BYTES, LITTLE_FREE_BYTES - 1, LITTLE_FREE_BYTES)
    assert [kept.disk_status(free) for free in bounds] == ["fail", "warn", "warn", "ok"]
    assert kept.disk(HOME / "not" / "there").figures["free_bytes"] == pytest.approx(
        shutil.disk_usage(".").free, rel=0.2
    )


def test_a_sound_archive_is_counted_and_left_as_it_is() -> None:
    with opened(HOME) as archive:
        put(archive, ["good", "bad"])
    before = (HOME / "cache" / "cache.db").read_bytes()
    found = kept.archive(HOME)
    assert (found.status, found.figures["n_entries"]) == ("ok", 2)
    assert (HOME / "cache" / "cache.db").read_bytes() == before


def damage_file(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[8192:12288] = b"\xff" * 4096
    database.write_bytes(content)


def replace_file(database: Path) -> None:
    database.write_text("not a database, but longer than the header of one would be" * 9)


@pytest.mark.parametrize("harm", [damage_file, replace_file])
def test_a_damaged_archive_fails_and_is_not_set_aside(harm: Callable[[Path], None]) -> None:
    with opened(HOME) as archive:
        put(archive, [f"text {at}" for at in range(200)])
    harm(HOME / "cache" / "cache.db")
    before = sorted(path.name for path in (HOME / "cache").iterdir())
    found = kept.archive(HOME)
    assert found.status == "fail"
    assert found.advice
    assert {"cache.db"} <= set(before) <= {path.name for path in (HOME / "cache").iterdir()}
    assert not [path for path in HOME.rglob("*") if "damaged" in path.name]


def test_a_ledger_adds_up_or_fails() -> None:
    folder = HOME / budget.FOLDER
    assert kept.ledger(HOME).figures == {"n_runs": 0, "charged_usd": "0"}
    with purse(folder) as one:
        (reservation,) = reserved(one)
        one.settle([settlement(reservation, "0.5")])
    found = kept.ledger(HOME)
    assert (found.status, found.figures) == ("ok", {"n_runs": 1, "charged_usd": "0.500000000000"})
    (folder / "spend.db").write_bytes(b"")
    assert kept.ledger(HOME).status == "fail"


# The command


def keys_of(made: Mapping[str, Any]) -> set[str]:
    return set().union(*(check.keys() for check in made["checks"]))


def test_the_command_exits_with_0_and_its_json_is_exact(inside: Run) -> None:
    done = inside("doctor", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    made = json.loads(done.stdout)
    assert list(made) == ["schema_version", "n_ok", "n_warn", "n_fail", "n_skipped", "checks"]
    assert keys_of(made) == {"name", "status", "found", "advice", "figures"}
    assert all(len(check) == 5 for check in made["checks"])
    assert inside("doctor").stdout.endswith("next: reviewopt process TABLE\n")


def test_the_command_exits_with_1_if_a_check_fails_and_prints_all_of_them(
    reviewopt: Run, inside: Run, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere" / "cache").mkdir(parents=True)
    (tmp_path / "elsewhere" / "cache" / "cache.db").write_text("not a database")
    done = reviewopt("doctor", "--home", "elsewhere")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "checks failed: archive" in done.stderr
    assert "ledger" in done.stdout
    assert json.loads(inside("doctor", "--home", "elsewhere", "--json").stdout)["n_fail"] == 1


@pytest.mark.parametrize("flags", [[], ["--json"], ["--endpoints"], ["--endpoints", "--json"]], ids=" ".join)
def test_no_key_is_printed(inside: Run, flags: list[str]) -> None:
    with serve(http(f"you sent {CANARY}".encode(), 401, x_echo=CANARY)) as served:
        described(f"{served.base_url}?code={CANARY}")
        done = inside("doctor", *flags, MY_KEY=CANARY)
    assert done.returncode == (1 if "--endpoints" in flags else 0)
    assert bool(served.asked) == ("--endpoints" in flags)
    assert CANARY not in done.stdout + done.stderr
    assert str(len(CANARY)) not in named_line(done.stdout)


def named_line(printed: str) -> str:
    """What is printed of keys."""
    return "".join(line for line in printed.splitlines() if "MY_KEY" in line and "HTTP" not in line)


def test_a_key_in_place_of_its_variable_is_not_printed(inside: Run) -> None:
    described(api_key_env=CANARY)
    done = inside("doctor")
    assert done.returncode == 1
    assert CANARY not in done.stdout + done.stderr


def test_foreign_text_is_no_markup(inside: Run) -> None:
    Path("reviewopt.toml").write_text("[models.'[red]x[/red]\\u001b[31m']\nmodel = 'm'\nbase_url = 'https://x.test'\n")
    printed = inside("doctor").stdout
    assert "[red]x[/red]" in printed
    assert "\x1b" not in printed
