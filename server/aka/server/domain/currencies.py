"""The currencies of ISO 4217, by their codes."""

from importlib.resources import files
from typing import Final

CURRENCIES: Final = frozenset(files(__package__).joinpath("currencies.txt").read_text(encoding="ascii").split())
