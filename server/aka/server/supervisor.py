"""`aka serve --workers`: one process that keeps several others, which share the ports. No call passes it."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from aka.server.addresses import reserved
from aka.server.app import say_ready
from aka.server.config import Settings
from aka.server.logs import log
from aka.server.metrics_server import create_metrics_app
from aka.server.rest_server import RestServer
from aka.server.stopping import Stopping
from aka.server.worker_metrics import read_metrics
from aka.server.workers import Worker

PATIENCE: Final = 10.0
"""Seconds beyond the grace after which a worker that does not end is killed."""


class WorkerFailed(Exception):
    """A worker cannot serve, and has said why; `code` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


async def supervise(settings: Settings, variables: Mapping[str, str]) -> None:
    """Have `settings.workers` processes serve until SIGINT or SIGTERM, drain, and end them.

    `variables` are settings that the environment does not have. A worker that ends is replaced; at SIGHUP all are, one
    after another. CannotListen; WorkerFailed where one ends before it ever served.
    """
    stop = Stopping(settings.drain)
    stop.begin_on_signals()
    renewal = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, renewal.set)
    failures: list[int] = []

    def fail(code: int) -> None:
        failures.append(code)
        stop.end()

    with ExitStack() as ports:
        own = {
            "AKA_GRPC_ADDRESS": ports.enter_context(reserved(settings.grpc_address)),
            "AKA_REST_ADDRESS": settings.rest_address and ports.enter_context(reserved(settings.rest_address)),
            "AKA_METRICS_ADDRESS": "",
        }
        environ = {**os.environ, **variables, **own}
        patience = settings.grace + PATIENCE
        workers = [Worker(number + 1, environ, patience, fail) for number in range(settings.workers)]
        metrics = RestServer(create_metrics_app(lambda: _collect(workers)))
        try:
            bound = await metrics.start(settings.metrics_address) if settings.metrics_address else "-"
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(_keep(workers, settings, bound, renewal))
                await stop.draining.wait()
                for worker in workers:
                    worker.drain()
                await stop.over.wait()
                if not failures:
                    log.info("stopping", grace=settings.grace)
                keeping.cancel()
        finally:
            await metrics.stop(0)
    if failures:
        raise WorkerFailed(max(1, failures[0]))
    log.info("stopped")


async def _keep(workers: Sequence[Worker], settings: Settings, metrics: str, renewal: asyncio.Event) -> None:
    """Start the workers, the first alone, since it prepares the database, and end them when cancelled.

    Meanwhile renew them, one after another, when asked.
    """
    first, *others = workers
    async with asyncio.TaskGroup() as group:
        for some in ([first], others):
            for worker in some:
                group.create_task(worker.keep())
            for worker in some:
                await worker.serves.wait()
        assert first.served is not None
        log.info("workers serve", workers=len(workers), metrics=metrics, pid=os.getpid())
        say_ready(settings, first.served)
        while True:
            await renewal.wait()
            renewal.clear()
            log.info("renewing workers")
            for worker in workers:
                worker.renew()
                await worker.serves.wait()


async def _collect(workers: Sequence[Worker]) -> list[Metric]:
    serves = GaugeMetricFamily("aka_worker_serves", "1 where the worker serves, else 0.", labels=["worker"])
    ends = CounterMetricFamily("aka_worker_ends", "Processes that ended and were replaced.", labels=["worker"])
    for worker in workers:
        serves.add_metric([str(worker.number)], worker.serves.is_set())
        ends.add_metric([str(worker.number)], worker.ends)
    lines = await asyncio.gather(*(worker.measure() for worker in workers))
    told = {str(worker.number): line for worker, line in zip(workers, lines, strict=True) if line is not None}
    return [serves, ends, *read_metrics(told)]
