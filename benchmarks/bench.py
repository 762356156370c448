"""What every row needs to measure: a driver, a folder, and how much."""

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

    def load(self, server: Server, made: Calls, callers: int, connections: int = CONNECTIONS) -> Measured:
        """Load a server for one side of a round."""
        return self.driver.run(
            server,
            made,
            callers=callers,
            connections=connections,
            seconds=self.scale.seconds,
            warm=self.scale.warm,
            most=self.scale.most,
        )

    def rate(self, server: Server, made: Calls, callers: int, connections: int = CONNECTIONS) -> Sample:
        """Load a server and return the calls that it answered a second."""
        measured = self.load(server, made, callers, connections)
        return Sample(measured.rate, details(measured))

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
