"""The numbered migrations of the backends: what aka knows, and what a database lacks of it."""

from collections.abc import Collection
from importlib.resources import files

from aka.server.store.store import CannotOpen

Migration = tuple[int, str, str]
"""Number, name and SQL."""


def read_migrations(backend: str) -> list[Migration]:
    """Return all migrations of a backend that this aka knows, in order."""
    found = []
    for file in files(__package__).joinpath("migrations", backend).iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        found.append((int(number), name, file.read_text(encoding="utf-8")))
    return sorted(found)


def lacking(known: list[Migration], applied: Collection[int]) -> list[Migration]:
    """Return the known migrations that were not applied."""
    return [migration for migration in known if migration[0] not in applied]


def too_new(number: int, known: list[Migration]) -> CannotOpen:
    """Say that a database has a migration that this aka does not know and cannot do with."""
    return CannotOpen(
        f"the database is from a newer aka (migration {number}; this one knows up to {known[-1][0]});"
        " use that aka, or a backup from before the upgrade"
    )
