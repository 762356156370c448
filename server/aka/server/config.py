"""Every setting: read once, and all that is wrong with them reported at once."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aka.server import keys
from aka.server.addresses import address
from aka.server.domain.reserved import ReservedList
from aka.server.limits import RateLimit
from aka.server.store.postgres_url import CONNECTIONS, Database, PostgresOptions, PostgresUrl
from aka.server.store.sqlite_file import MEMORY
from aka.server.tls import TlsError, TlsFiles, rest_context

_ORIGIN: Final = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
"""As a browser writes it: lower case, no path, no slash at the end."""


class SettingsError(Exception):
    """Settings that cannot be; `problems` has one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its environment variable, its flag of `aka serve`, and how its text is read."""

    field: str
    env: str
    flag: str | None
    default: str | None
    expected: str
    parse: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """What `aka serve` runs with."""

    database: Database
    database_replica: PostgresUrl | None
    database_connections: int
    database_prepared: str
    workers: int
    """How many processes serve."""
    grpc_address: str
    rest_address: str
    """Empty: no gateway."""
    cors_origins: tuple[str, ...]
    """The origins whose pages may call the gateway from a browser; `*` is any."""
    metrics_address: str
    """Empty: no metrics."""
    bootstrap_api_key: str | None
    rate_limit: RateLimit | None
    max_identifiers: int
    reserved: ReservedList
    kept_resolutions: int
    reflection: str
    log_level: str
    log_format: str | None
    """None: text on a terminal, else json."""
    grace: float
    """Seconds that calls under way get to end when the server stops."""
    drain: float
    """Seconds before that in which it serves on and says that it is about to stop."""
    tls_cert: str | None
    tls_key: str | None
    tls_client_ca: str | None

    @property
    def postgres(self) -> PostgresOptions:
        """How the database is used where it is PostgreSQL."""
        return PostgresOptions(self.database_connections, self.database_prepared == "on", self.database_replica)

    @property
    def tls(self) -> TlsFiles | None:
        """The files of the server's certificate; None: no TLS."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return TlsFiles(self.tls_cert, self.tls_key, self.tls_client_ca)


def sqlite_path(url: str) -> str:
    """Return the path of a `sqlite:///PATH` URL; ValueError where it is none."""
    scheme, separator, path = url.partition(":///")
    if scheme != "sqlite" or not separator or not path:
        raise ValueError(url)
    return path if path == MEMORY else str(Path(path))


def _database(text: str) -> Database:
    return PostgresUrl.parse(text) if text.startswith("postgres") else sqlite_path(text)


def _database_replica(text: str) -> PostgresUrl | None:
    return PostgresUrl.parse(text) if text else None


def _database_connections(text: str) -> int:
    if not 2 <= int(text) <= 100:
        raise ValueError(text)
    return int(text)


def _optional_address(text: str) -> str:
    return address(text) if text else ""


def _cors_origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip() for origin in text.split(",")) if text else ()
    if not all(origin == "*" or _ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError(text)
    return origins


def _bootstrap_api_key(text: str) -> str | None:
    if not text:
        return None
    if len(text) < keys.SHORTEST or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError
    return text


def _rate_limit(text: str) -> RateLimit | None:
    return None if text == "off" else RateLimit.parse(text)


def _max_identifiers(text: str) -> int:
    if not 2 <= int(text) <= 10_000:
        raise ValueError(text)
    return int(text)


def _kept_resolutions(text: str) -> int:
    if not 0 <= int(text) <= 100_000_000:
        raise ValueError(text)
    return int(text)


def _workers(text: str) -> int:
    if not 1 <= int(text) <= 64:
        raise ValueError(text)
    return int(text)


def _reserved(text: str) -> ReservedList:
    return ReservedList.parse(Path(text).read_text(encoding="utf-8")) if text else ReservedList.default()


def _one_of(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    return parse


def _file(text: str) -> str | None:
    if not text:
        return None
    with Path(text).open("rb"):
        return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 3600:
        raise ValueError(text)
    return seconds


SETTINGS: Final = (
    Setting(
        "database",
        "AKA_DATABASE_URL",
        "--database",
        "sqlite:///./aka.db",
        "sqlite:///PATH (four slashes: absolute), sqlite:///:memory:, or postgresql://USER:PASSWORD@HOST:PORT/NAME",
        _database,
    ),
    Setting(
        "database_replica",
        "AKA_DATABASE_REPLICA_URL",
        "--database-replica",
        "",
        "postgresql://... of a replica, which reads with CONSISTENCY_EVENTUAL go to",
        _database_replica,
    ),
    Setting(
        "database_connections",
        "AKA_DATABASE_CONNECTIONS",
        "--database-connections",
        str(CONNECTIONS),
        "a number from 2 to 100: connections of a server process to PostgreSQL, half of them for changes",
        _database_connections,
    ),
    Setting(
        "database_prepared",
        "AKA_DATABASE_PREPARED",
        "--database-prepared",
        "on",
        "on; off behind a pooler that gives each transaction another connection, such as pgbouncer by transaction",
        _one_of("on", "off"),
    ),
    Setting(
        "workers",
        "AKA_WORKERS",
        "--workers",
        "1",
        "a number from 1 to 64: processes that share the ports, over PostgreSQL",
        _workers,
    ),
    Setting(
        "grpc_address",
        "AKA_GRPC_ADDRESS",
        "--grpc-address",
        "127.0.0.1:50051",
        "HOST:PORT (port 0 picks one) or unix:/path",
        address,
    ),
    Setting(
        "rest_address",
        "AKA_REST_ADDRESS",
        "--rest-address",
        "127.0.0.1:8080",
        "HOST:PORT (port 0 picks one), unix:/path, or empty for no REST gateway",
        _optional_address,
    ),
    Setting(
        "cors_origins",
        "AKA_CORS_ORIGINS",
        "--cors-origins",
        "",
        "origins such as https://app.example.com, with commas between, whose pages may call the REST gateway; * is any",
        _cors_origins,
    ),
    Setting(
        "metrics_address",
        "AKA_METRICS_ADDRESS",
        "--metrics-address",
        "",
        "HOST:PORT (port 0 picks one), unix:/path, or empty for no `GET /metrics`",
        _optional_address,
    ),
    Setting(
        "bootstrap_api_key",
        "AKA_BOOTSTRAP_API_KEY",
        None,
        None,
        f"{keys.SHORTEST} or more printable ASCII characters without blanks",
        _bootstrap_api_key,
    ),
    Setting(
        "rate_limit",
        "AKA_RATE_LIMIT",
        "--rate-limit",
        "600000/minute",
        "N/second, N/minute, N/hour or N/day, a key and server process, or off",
        _rate_limit,
    ),
    Setting(
        "max_identifiers",
        "AKA_MAX_IDENTIFIERS_PER_PROFILE",
        "--max-identifiers-per-profile",
        "1000",
        "a number from 2 to 10000: identifiers and tombstones of a profile",
        _max_identifiers,
    ),
    Setting(
        "reserved",
        "AKA_RESERVED_IDENTIFIERS",
        "--reserved-identifiers",
        "",
        "a file of rules such as `exactly null`, in place of aka's own list",
        _reserved,
    ),
    Setting(
        "kept_resolutions",
        "AKA_KEPT_RESOLUTIONS",
        "--kept-resolutions",
        "100000",
        "a number from 0 to 100000000: keys whose profile is kept in memory, over SQLite, at some 600 bytes each",
        _kept_resolutions,
    ),
    Setting(
        "reflection",
        "AKA_REFLECTION",
        "--reflection",
        "on",
        "on, key (only with a good API key) or off",
        _one_of("on", "key", "off"),
    ),
    Setting(
        "log_level",
        "AKA_LOG_LEVEL",
        "--log-level",
        "info",
        "debug, info, warning or error",
        _one_of("debug", "info", "warning", "error"),
    ),
    Setting(
        "log_format",
        "AKA_LOG_FORMAT",
        "--log-format",
        None,
        "json or text; text on a terminal, else json, where it is not set",
        _one_of("json", "text"),
    ),
    Setting(
        "grace",
        "AKA_GRACE",
        "--grace",
        "10",
        "seconds, 0 to 3600, that calls under way get to end when the server stops",
        _seconds,
    ),
    Setting(
        "drain",
        "AKA_DRAIN",
        "--drain",
        "0",
        "seconds, 0 to 3600, between saying that the server stops and stopping, for load balancers to see it",
        _seconds,
    ),
    Setting(
        "tls_cert",
        "AKA_TLS_CERT",
        "--tls-cert",
        "",
        "a PEM file of the certificate that both ports are served with, then those between it and its authority's",
        _file,
    ),
    Setting("tls_key", "AKA_TLS_KEY", "--tls-key", "", "a PEM file of the certificate's key, not encrypted", _file),
    Setting(
        "tls_client_ca",
        "AKA_TLS_CLIENT_CA",
        "--tls-client-ca",
        "",
        "a PEM file of the authorities of which callers must have a certificate (mutual TLS)",
        _file,
    ),
)


def read_settings(environ: Mapping[str, str], flags: Mapping[str, str | None]) -> Settings:
    """Read every setting, a flag before its environment variable; SettingsError names all that are wrong."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for setting in SETTINGS:
        flag = flags.get(setting.field)
        text = environ.get(setting.env, setting.default) if flag is None else flag
        try:
            values[setting.field] = None if text is None else setting.parse(text)
        except (ValueError, OSError) as error:
            shown = f"{text!r} " if _may_be_shown(setting.field, str(text)) else ""
            why = f" ({error})" if isinstance(error, OSError) or setting.field == "reserved" else ""
            name = setting.env if flag is None else f"{setting.flag} ({setting.env})"
            problems.append(f"{name}: {shown}is not {setting.expected}{why}")
    if values.get("database_replica") and isinstance(values.get("database"), str):
        problems.append("AKA_DATABASE_REPLICA_URL: only a PostgreSQL in AKA_DATABASE_URL can have one")
    problems += [*_workers_problems(values), *_tls_problems(values)]
    if problems:
        raise SettingsError(problems)
    return Settings(**values)


def as_variables(flags: Mapping[str, str | None]) -> dict[str, str]:
    """Return the settings that flags give as their environment variables."""
    return {setting.env: text for setting in SETTINGS if (text := flags.get(setting.field)) is not None}


def _may_be_shown(field: str, text: str) -> bool:
    """Whether a wrong value bears no secret."""
    if field in ("database", "database_replica"):
        return "@" not in text and "password" not in text
    return field != "bootstrap_api_key"


def _workers_problems(values: Mapping[str, Any]) -> list[str]:
    """Say what cannot be shared by several processes."""
    if values.get("workers", 1) == 1:
        return []
    problems = []
    if isinstance(values.get("database"), str):
        problems.append("AKA_WORKERS: a SQLite file has one process: more than one worker needs PostgreSQL")
    for setting in SETTINGS:
        if setting.field in ("grpc_address", "rest_address") and values.get(setting.field, "").startswith("unix:"):
            problems.append(f"{setting.env}: workers share a port; they cannot share a unix socket")
    return problems


def _tls_problems(values: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with the files of TLS taken together; one that cannot be read was told of already."""
    names = {setting.field: setting.env for setting in SETTINGS if setting.field.startswith("tls_")}
    if not values.keys() >= names.keys():
        return []
    given = [field for field in names if values[field]]
    missing = [field for field in ("tls_cert", "tls_key") if given and field not in given]
    if missing:
        return [f"{names[field]}: it is needed where {names[given[0]]} is set" for field in missing]
    if given:
        try:
            rest_context(TlsFiles(*(values[field] for field in names)))
        except TlsError as error:
            return [f"{next(names[field] for field in given if values[field] == error.path)}: {error}"]
    return []
