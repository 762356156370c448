"""Raw PostgreSQL: the rows that aka writes for an Alias, in aka's tables, one statement of pgbench a transaction."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from aka.server.store.databases import migrate_database
from aka.server.store.postgres_url import PostgresUrl
from tests.postgres.cluster import Cluster
from tests.postgres.databases import execute

_ROWS: Final = """
\\set user random(1, 1000000000000000)
WITH made AS (SELECT uuid_send(gen_random_uuid()) AS id), profile AS (
    INSERT INTO profiles (workspace, id, survivor, orphaned, primary_id, identifiers, user_aliases, tombstones,
        created_at, updated_at)
    SELECT 1, id, id, false, 'user-' || :user, 2, 0, 0, 0, 0 FROM made
), identifier AS (
    INSERT INTO identifiers (workspace, label, name, origin, anonymous, linked_at)
    SELECT 1, '', name || :user, id, false, 0 FROM made, (VALUES ('user-'), ('alias-')) AS n (name)
)
INSERT INTO journal (workspace, at, api_key, request, kind, profile, label, name, flag, anonymous)
SELECT 1, 0, uuid_send(gen_random_uuid()), gen_random_uuid()::text, kind, id, '', name || :user, false, false
FROM made, (VALUES ('created', 'user-'), ('linked', 'alias-')) AS n (kind, name);
"""


@dataclass(frozen=True, slots=True)
class RawPostgres:
    """A database of aka's tables, and pgbench to fill it."""

    cluster: Cluster

    def alias(self, seconds: float, clients: int) -> float:
        """Write what an Alias of two new ids writes, one a transaction, and return the transactions a second."""
        script = self.cluster.folder / "alias.sql"
        script.write_text(_ROWS)
        command = [
            str(self.cluster.programs / "pgbench"),
            *("--no-vacuum", "--protocol=prepared", f"--file={script}", f"--time={max(1, round(seconds))}"),
            *(f"--client={clients}", "--jobs=1", self.cluster.url("raw")),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        (rate,) = re.findall(r"tps = ([\d.]+) ", done.stdout)
        return float(rate)


@contextmanager
def postgres() -> Iterator[RawPostgres]:
    """Run a PostgreSQL that syncs what it commits, with a database of aka's tables for pgbench beside aka's own."""
    cluster = Cluster.create(durable=True, max_connections="200", shared_buffers="256MB", max_wal_size="4GB")
    cluster.start()
    try:
        execute(cluster.url(), "CREATE DATABASE raw", "CREATE DATABASE aka")
        migrate_database(PostgresUrl.parse(cluster.url("raw")), apply=True)
        yield RawPostgres(cluster)
    finally:
        cluster.remove()
