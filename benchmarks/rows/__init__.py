"""The rows, by what they are about: what is measured beside what, and what the ratio must reach."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from benchmarks.bench import Bench
from benchmarks.rounds import Figure
from benchmarks.rows import data, growth, latency, links, peer, pipeline, postgres, reads, rest, start

Row: TypeAlias = Callable[[Bench], Iterator[Figure]]

ROWS: Final[Mapping[str, Row]] = {
    "1": links.alias,
    "1b": links.alias_alone,
    "2": reads.resolve,
    "2b": reads.resolve_from_the_file,
    "3": reads.resolve_many,
    "3b": reads.resolve_many_from_the_file,
    "4": links.create_aliases,
    "6": links.merge,
    "7": rest.alias,
    "8": pipeline.no_op,
    "9": postgres.alias,
    "10": postgres.resolve,
    "11": postgres.workers,
    "12": peer.instead,
    "14": start.start,
    "15": latency.latency,
    "16": links.import_and_export,
    "17": data.track,
    "18": data.export_profiles,
}

GROWTH: Final[Mapping[str, Row]] = {
    "5": growth.rates,
    "6": growth.large_profiles,
    "13": growth.memory,
}
"""Rows of a database that is large, which takes a minute to make."""
