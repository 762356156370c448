"""Settings: every variable and flag, which of the two counts, and what is said of wrong ones."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from aka.server.config import SETTINGS, SettingsError, read_settings
from aka.server.domain.reserved import ReservedList
from aka.server.limits import RateLimit
from tests.cli.command import aka, environment, identify, serving

GIVEN: list[tuple[str, str, str, Any]] = [
    ("AKA_DATABASE_URL", "database", "sqlite:///some/path.db", "some/path.db"),
    ("AKA_DATABASE_URL", "database", "sqlite:////absolute/path.db", "/absolute/path.db"),
    ("AKA_DATABASE_URL", "database", "sqlite:///:memory:", ":memory:"),
    ("AKA_WORKERS", "workers", "1", 1),
    ("AKA_GRPC_ADDRESS", "grpc_address", "0.0.0.0:0", "0.0.0.0:0"),
    ("AKA_GRPC_ADDRESS", "grpc_address", "[::1]:50051", "[::1]:50051"),
    ("AKA_GRPC_ADDRESS", "grpc_address", "unix:/run/aka.sock", "unix:/run/aka.sock"),
    ("AKA_CORS_ORIGINS", "cors_origins", "*", ("*",)),
    ("AKA_CORS_ORIGINS", "cors_origins", "https://a.example", ("https://a.example",)),
    (
        "AKA_CORS_ORIGINS",
        "cors_origins",
        "https://a.example, http://localhost:3000,http://[::1]:80",
        ("https://a.example", "http://localhost:3000", "http://[::1]:80"),
    ),
    ("AKA_BOOTSTRAP_API_KEY", "bootstrap_api_key", "k" * 20, "k" * 20),
    ("AKA_RATE_LIMIT", "rate_limit", "5/second", RateLimit(5, "second")),
    ("AKA_RATE_LIMIT", "rate_limit", "off", None),
    ("AKA_MAX_IDENTIFIERS_PER_PROFILE", "max_identifiers", "10000", 10000),
    ("AKA_MAX_IDENTIFIERS_PER_PROFILE", "max_identifiers", "2", 2),
    ("AKA_KEPT_RESOLUTIONS", "kept_resolutions", "0", 0),
    ("AKA_REFLECTION", "reflection", "key", "key"),
    ("AKA_REFLECTION", "reflection", "off", "off"),
    ("AKA_LOG_LEVEL", "log_level", "debug", "debug"),
    ("AKA_LOG_FORMAT", "log_format", "text", "text"),
    ("AKA_GRACE", "grace", "0", 0.0),
    ("AKA_GRACE", "grace", "2.5", 2.5),
    ("AKA_DRAIN", "drain", "15", 15.0),
]

WRONG: list[tuple[str, str]] = [
    ("AKA_DATABASE_URL", "aka.db"),
    ("AKA_DATABASE_URL", "sqlite://aka.db"),
    ("AKA_DATABASE_URL", "sqlite:///"),
    ("AKA_DATABASE_URL", "mysql:///aka"),
    ("AKA_WORKERS", "0"),
    ("AKA_WORKERS", "65"),
    ("AKA_WORKERS", "auto"),
    ("AKA_GRPC_ADDRESS", "50051"),
    ("AKA_GRPC_ADDRESS", ":50051"),
    ("AKA_GRPC_ADDRESS", "localhost"),
    ("AKA_GRPC_ADDRESS", "localhost:http"),
    ("AKA_GRPC_ADDRESS", "localhost:65536"),
    ("AKA_GRPC_ADDRESS", "localhost:-1"),
    ("AKA_GRPC_ADDRESS", "unix:relative"),
    ("AKA_CORS_ORIGINS", "a.example"),
    ("AKA_CORS_ORIGINS", "https://a.example/"),
    ("AKA_CORS_ORIGINS", "https://A.example"),
    ("AKA_CORS_ORIGINS", "https://*.example"),
    ("AKA_CORS_ORIGINS", "https://a.example,"),
    ("AKA_BOOTSTRAP_API_KEY", "k" * 19),
    ("AKA_RATE_LIMIT", "5"),
    ("AKA_RATE_LIMIT", "0/minute"),
    ("AKA_RATE_LIMIT", "OFF"),
    ("AKA_MAX_IDENTIFIERS_PER_PROFILE", "1"),
    ("AKA_MAX_IDENTIFIERS_PER_PROFILE", "10001"),
    ("AKA_MAX_IDENTIFIERS_PER_PROFILE", "many"),
    ("AKA_RESERVED_IDENTIFIERS", "/missing/file"),
    ("AKA_KEPT_RESOLUTIONS", "-1"),
    ("AKA_KEPT_RESOLUTIONS", "many"),
    ("AKA_REFLECTION", "true"),
    ("AKA_LOG_LEVEL", "DEBUG"),
    ("AKA_LOG_FORMAT", "xml"),
    ("AKA_GRACE", "-1"),
    ("AKA_GRACE", "nan"),
    ("AKA_GRACE", "inf"),
    ("AKA_GRACE", "3601"),
    ("AKA_DRAIN", "-1"),
]

DEFAULTS = {
    "database": "aka.db",
    "workers": 1,
    "grpc_address": "127.0.0.1:50051",
    "cors_origins": (),
    "bootstrap_api_key": None,
    "rate_limit": RateLimit(600_000, "minute"),
    "max_identifiers": 1000,
    "reserved": ReservedList.default(),
    "kept_resolutions": 100_000,
    "log_format": None,
    "log_level": "info",
    "reflection": "on",
    "grace": 10.0,
    "drain": 0.0,
    "tls": None,
}


def flag_of(env: str) -> str | None:
    (flag,) = [setting.flag for setting in SETTINGS if setting.env == env]
    return flag


@pytest.mark.parametrize(("field", "value"), DEFAULTS.items())
def test_a_setting_that_is_not_given_has_its_default(field: str, value: Any) -> None:
    assert getattr(read_settings({}, {}), field) == value


@pytest.mark.parametrize(("env", "field", "text", "value"), GIVEN)
def test_a_setting_is_read_from_its_variable(env: str, field: str, text: str, value: Any) -> None:
    assert getattr(read_settings({env: text}, {}), field) == value


@pytest.mark.parametrize(("env", "field", "text", "value"), GIVEN)
def test_a_setting_is_read_from_its_flag(env: str, field: str, text: str, value: Any) -> None:
    if flag_of(env) is not None:
        assert getattr(read_settings({}, {field: text}), field) == value


@pytest.mark.parametrize(("env", "field", "text", "value"), GIVEN)
def test_a_flag_counts_before_its_variable_even_a_wrong_one(env: str, field: str, text: str, value: Any) -> None:
    assert getattr(read_settings({env: "wrong"}, {field: text}), field) == value


@pytest.mark.parametrize(("env", "text"), WRONG)
def test_a_wrong_value_is_named_with_what_is_expected(env: str, text: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_settings({env: text}, {})
    (problem,) = error.value.problems
    assert problem.startswith(f"{env}: ")
    assert " is not " in problem or env == "AKA_BOOTSTRAP_API_KEY"
    assert "\n" not in problem


def test_only_the_key_has_no_flag() -> None:
    assert [setting.env for setting in SETTINGS if setting.flag is None] == ["AKA_BOOTSTRAP_API_KEY"]


def test_a_list_of_reserved_identifiers_takes_the_place_of_akas_own(tmp_path: Path) -> None:
    file = tmp_path / "reserved.txt"
    file.write_text("# ours\n\nexactly nobody\nany-case Root\npattern x+\n")
    reserved = read_settings({"AKA_RESERVED_IDENTIFIERS": str(file)}, {}).reserved
    assert ["nobody" in reserved, "ROOT" in reserved, "xxx" in reserved, "null" in reserved] == [True] * 3 + [False]


@pytest.mark.parametrize("line", ["nobody", "exactly", "sometimes nobody", "pattern ("])
def test_a_list_of_reserved_identifiers_that_cannot_be_read_is_a_wrong_setting(tmp_path: Path, line: str) -> None:
    file = tmp_path / "reserved.txt"
    file.write_text(f"exactly null\n{line}\n")
    with pytest.raises(SettingsError) as error:
        read_settings({"AKA_RESERVED_IDENTIFIERS": str(file)}, {})
    assert len(error.value.problems) == 1


def test_all_wrong_settings_are_named_at_once_and_end_with_2(tmp_path: Path) -> None:
    wrong = {env: text for env, text in WRONG}
    ended = aka("serve", cwd=tmp_path, env=environment() | wrong)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.errors) == len(wrong)
    assert [env for env in wrong if env not in ended.err] == []


def test_wrong_flags_are_named_beside_wrong_variables_and_no_database_is_made(tmp_path: Path) -> None:
    env = environment(rate_limit="often")
    ended = aka("serve", "--grace", "soon", "--reflection", "maybe", cwd=tmp_path, env=env)
    assert (ended.code, len(ended.errors), list(tmp_path.iterdir())) == (2, 3, [])
    assert [name for name in ("--grace", "--reflection", "AKA_RATE_LIMIT") if name not in ended.err] == []


def test_the_help_of_serve_names_every_flag_and_every_variable(tmp_path: Path) -> None:
    shown = aka("serve", "--help", cwd=tmp_path).out
    assert [setting.env for setting in SETTINGS if setting.env not in shown] == []
    assert [setting.flag for setting in SETTINGS if setting.flag and setting.flag not in shown] == []


@pytest.mark.parametrize("url", ["sqlite:///aka.db", "sqlite:///:memory:"])
def test_more_than_one_worker_is_refused_for_sqlite_with_the_reason(url: str, tmp_path: Path) -> None:
    ended = aka("serve", "--workers", "2", cwd=tmp_path, env=environment(database_url=url))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("aka: AKA_WORKERS: a SQLite file has one process")
    assert list(tmp_path.iterdir()) == []


def test_more_than_one_worker_is_refused_for_unix_sockets_all_at_once() -> None:
    sockets = {"AKA_GRPC_ADDRESS": "unix:/run/aka.sock", "AKA_REST_ADDRESS": "unix:/run/rest.sock"}
    with pytest.raises(SettingsError) as error:
        read_settings({"AKA_WORKERS": "2", "AKA_DATABASE_URL": "postgresql://aka@127.0.0.1/aka", **sockets}, {})
    assert [problem.partition(":")[0] for problem in error.value.problems] == [*sockets]


def refused(server: Any, method: str, body: dict[str, Any]) -> str:
    """Return the status of a call that must fail."""
    with pytest.raises(grpc.RpcError) as error:
        server.call(method, body)
    code: grpc.StatusCode = error.value.code()
    return code.name


@pytest.mark.parametrize("by", ["variables", "flags"])
def test_a_server_goes_by_its_settings(tmp_path: Path, by: str) -> None:
    (tmp_path / "reserved.txt").write_text("exactly forbidden\n")
    given = {
        "database_url": "sqlite:///mine.db",
        "rate_limit": "4/day",
        "max_identifiers_per_profile": "2",
        "reserved_identifiers": "reserved.txt",
        "reflection": "off",
        "log_level": "error",
        "log_format": "json",
        "grace": "0",
    }
    flags = [part for name, value in given.items() for part in (str(flag_of(f"AKA_{name.upper()}")), value)]
    arguments, settings = (flags, dict[str, str]()) if by == "flags" else ([], given)
    with serving(*arguments, cwd=tmp_path, settings=settings) as server:
        assert server.call("Identify", identify("null"))["results"][0]["outcome"] == "OUTCOME_CREATED"
        assert refused(server, "Alias", {"user_id": "null", "alias_id": "forbidden"}) == "INVALID_ARGUMENT"
        server.call("Alias", {"user_id": "null", "alias_id": "a"})
        assert refused(server, "Alias", {"user_id": "null", "alias_id": "b"}) == "FAILED_PRECONDITION"
        assert refused(server, "Alias", {"user_id": "null", "alias_id": "b"}) == "RESOURCE_EXHAUSTED"
        ended = server.stop()
    assert (ended.code, ended.err, (tmp_path / "mine.db").exists()) == (0, "", True)
