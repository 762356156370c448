"""What every row needs to measure: a driver, a folder, and how much."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import calls, servers
from benchmarks.load import CONNECTIONS, Calls, Driver, Measured
from benchmarks.rounds import Round, Sample, Scale, in_turn
from benchmarks.servers import Server


@dataclass(frozen=True, slots=True)
class Bench:
    """What a row needs: a driver, a folder on a disk, and how much to measure."""

    driver: Driver
    folder: Path
    scale: Scale

    def load(
        self, server: Server, made: Calls, callers: int, connections: int = CONNECTIONS, *, awake: bool = False
    ) -> Measured:
        """Load a server for one side of a round."""
        return self.driver.run(
            server,
            made,
            callers=callers,
            connections=connections,
            seconds=self.scale.seconds,
            warm=self.scale.warm,
            most=max(callers, self.scale.most // made.items),
            awake=awake,
        )

    def rate(
        self, server: Server, made: Calls, callers: int, connections: int = CONNECTIONS, *, awake: bool = False
    ) -> Sample:
        """Load a server and return the items that it did a second."""
        measured = self.load(server, made, callers, connections, awake=awake)
        return Sample(measured.rate * made.items, details(measured))

    def beside_raw(self, server: Server, made: Calls, callers: int, raw: Callable[[float, int], float]) -> list[Round]:
        """Measure a server, and raw sqlite3 that does as many items in a transaction as a call has, in turn.

        `raw` is told for how many seconds and how often at most, and returns how often a second it did that.
        """
        scale = self.scale

        def repeated() -> Sample:
            return Sample(raw(scale.seconds - scale.warm, max(1, scale.most // made.items)) * made.items)

        return in_turn(scale.bulk_rounds, lambda: self.rate(server, made, callers, awake=True), repeated)

    def make_profiles(self, server: Server) -> None:
        """Make the profiles of `calls.new_profiles`, with as many ids as the scale has."""
        new = calls.new_profiles(server, self.driver.key)
        self.driver.run(server, new, callers=8, seconds=300.0, most=self.scale.ids // (2 * calls.BATCH))

    def look_up_often(self, server: Server) -> None:
        """Look up ids five times as often as there are, so that a server that keeps them has nearly all."""
        made = calls.resolve(server, self.driver.key, self.scale.ids, calls.MANY)
        self.driver.run(server, made, callers=4, seconds=300.0, most=5 * self.scale.ids // calls.MANY)

    def time(self, server: Server, made: Calls, most: int) -> Sample:
        """Return the time of a call, in milliseconds, where one caller makes so many."""
        measured = self.driver.run(server, made, callers=1, seconds=60.0, most=most)
        return Sample(measured.p50 * 1e3, details(measured))

    def beside_echo(self, server: Server, made: Calls, callers: int) -> list[Round]:
        """Measure a server and the echo, with calls of the same sizes, in turn."""
        echoed = calls.echoed(made)
        with servers.echo(made.answer_size, self.folder) as echo:
            return in_turn(
                self.scale.rounds,
                lambda: self.rate(server, made, callers),
                lambda: self.rate(echo, echoed, callers),
            )


def details(measured: Measured) -> dict[str, float]:
    """Return what a sample tells beside its number."""
    return {
        "p50_ms": round(measured.p50 * 1e3, 3),
        "p99_ms": round(measured.p99 * 1e3, 3),
        "server_cpu_us": round(measured.server_cpu * 1e6, 1),
        "driver_busy": measured.driver_busy,
    }
