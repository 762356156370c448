"""The URL of a PostgreSQL database, as libpq has it: several hosts, sslmode, target_session_attrs."""

from dataclasses import dataclass, field
from typing import Final, Self, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

CONNECTIONS: Final = 4

SCHEMES: Final = ("postgresql", "postgres")
UNKNOWN: Final = frozenset(
    {
        "channel_binding",
        "gssdelegation",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "require_auth",
        "sslcrldir",
        "tcp_user_timeout",
    }
)
"""What libpq knows and the driver does not; it would take it for a setting of the server."""
ATTRIBUTES: Final = ("any", "primary", "standby", "prefer-standby", "read-write", "read-only")


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """Where a database is and how to connect to it. Printed, it bears no password."""

    text: str = field(repr=False)
    """The URL as it was given, its password too; less what the other fields have."""
    hosts: tuple[tuple[str, int | None], ...]
    """Each host and port, in the order in which to try them; empty: what PGHOST and PGPORT say."""
    attributes: str | None
    """Which kind of server to take (`target_session_attrs`)."""
    timeout: float | None
    """Seconds that connecting to a host may take (`connect_timeout`)."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL; ValueError, which bears no password, where it is none."""
        try:
            parts = urlsplit(text)
            query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            credentials, at, netloc = parts.netloc.rpartition("@")
            hosts = _hosts(query.pop("host", "") or netloc, query.pop("port", ""))
            attributes = query.pop("target_session_attrs", "") or None
            seconds = float(query.pop("connect_timeout", "0"))
        except ValueError:
            raise ValueError("no URL of PostgreSQL") from None
        if (
            parts.scheme not in SCHEMES
            or attributes not in (None, *ATTRIBUTES)
            or parts.fragment
            or UNKNOWN & query.keys()
        ):
            raise ValueError("no URL of PostgreSQL")
        kept = parts._replace(netloc=credentials + at, query=urlencode(query))
        return cls(kept.geturl(), hosts, attributes, seconds or None)

    def __str__(self) -> str:
        """The hosts and the database, for a log or a message."""
        parts = urlsplit(self.text)
        hosts = ",".join(host if port is None else f"{host}:{port}" for host, port in self.hosts)
        return f"postgresql://{hosts}{parts.path}"


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """How a server uses its database."""

    connections: int = CONNECTIONS
    """To the primary, half of them for changes."""
    prepares: bool = True
    """Statements are prepared once a connection; not so behind a pooler that gives each transaction another."""
    replica: PostgresUrl | None = None
    """Where reads may go that may be late."""


def _hosts(netloc: str, ports: str) -> tuple[tuple[str, int | None], ...]:
    """Return hosts with their ports. `ports` is the query's: one for all hosts, or one each."""
    if not netloc:
        return ()
    names = netloc.split(",")
    given = [None if not port else int(port) for port in ports.split(",")]
    if len(given) not in (1, len(names)):
        raise ValueError(ports)
    hosts = []
    for place, each in enumerate(names):
        if each.startswith("/") or each.lower().startswith("%2f"):  # the folder of a socket
            host, port = each.replace("%2F", "/").replace("%2f", "/"), ""
        else:
            split = urlsplit(f"//{each}")
            host, port = split.hostname or "localhost", "" if split.port is None else str(split.port)
        hosts.append((host, int(port) if port else given[place if len(given) > 1 else 0]))
    return tuple(hosts)


Database: TypeAlias = str | PostgresUrl
"""The path of a SQLite file or `:memory:`, or the URL of a PostgreSQL database."""
