"""aka beside what a user would write instead."""

from collections.abc import Iterator
from functools import partial

from benchmarks import calls, servers
from benchmarks.bench import Bench
from benchmarks.raw import raw_database
from benchmarks.rounds import Figure, in_turn

_BESIDE = "aka's gRPC / FastAPI + SQLAlchemy"


def instead(bench: Bench) -> Iterator[Figure]:
    """Alias of two new ids, then Resolve of one id of many: aka over gRPC beside FastAPI and SQLAlchemy over REST."""
    callers, ids, key, scale = 64, bench.scale.ids, bench.driver.key, bench.scale
    with raw_database(bench.folder / "peer.db") as raw:
        raw.add_profiles(ids // 2)
    with servers.aka(bench.folder / "beside-peer.db", key) as aka, servers.peer(bench.folder / "peer.db", key) as peer:
        bench.make_profiles(aka)
        for what, ours, theirs in (
            ("Alias", calls.new_alias(aka, key), calls.new_peer_alias(peer, key)),
            ("Resolve", calls.resolve(aka, key, ids), calls.peer_resolve(peer, key, ids // 2)),
        ):
            rounds = in_turn(
                scale.bulk_rounds, partial(bench.rate, aka, ours, callers), partial(bench.rate, peer, theirs, callers)
            )
            yield Figure("12", f"{what}, {callers} callers: {_BESIDE}", "calls/s", 2.0, 5.0, rounds)
