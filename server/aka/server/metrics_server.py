"""`GET /metrics`: what aka counts, for Prometheus, on an address of its own."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import accumulate
from typing import Final

from google.rpc import code_pb2
from prometheus_client import ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aka.server.errors import PREFIX, STATUS
from aka.server.metrics import CacheMetrics, CallMetrics, Histogram, HttpMetrics, StoreMetrics
from aka.server.store.store import Store
from aka.v1 import alias_service_pb2 as v1

Collect = Callable[[], Awaitable[Sequence[Metric]]]

_PROCESS: Final = ProcessCollector(registry=None)


def collect_from(http: HttpMetrics, calls: CallMetrics | None = None, store: Store | None = None) -> Collect:
    """Return what tells, when called, all that the gateway, the pipeline and the store count.

    A gateway that is a process of its own has neither pipeline nor store.
    """

    async def collect() -> list[Metric]:
        families = [*_process(), *_of_http(http)]
        if calls is not None:
            families += _of_calls(calls)
        if store is not None:
            families += _of_store(await store.measure())
        return families

    return collect


def create_metrics_app(collect: Collect) -> Starlette:
    """Return the application that shows metrics, collected for each request."""

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(_Shown(await collect())), headers={"content-type": content_type})

    return Starlette(routes=[Route("/metrics", metrics, methods=["GET"])])


class _Shown(Collector):
    """Metrics as prometheus_client's encoders take them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _process() -> Iterator[Metric]:
    build = GaugeMetricFamily("aka_build_info", "The aka that runs, always 1.", labels=["version"])
    build.add_metric([version("aka")], 1)
    yield build
    yield from _PROCESS.collect()


def _of_http(http: HttpMetrics) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "aka_http_requests", "Requests that the REST gateway answered.", labels=["endpoint", "status"]
    )
    seconds = HistogramMetricFamily(
        "aka_http_request_seconds", "Seconds from a request's head to its answer.", labels=["endpoint"]
    )
    for name, endpoint in http.endpoints.items():
        for status, number in sorted(endpoint.codes.items()):
            requests.add_metric([name, str(status)], number)
        _add(seconds, [name], endpoint.seconds)
    yield from (requests, seconds)


def _of_calls(calls: CallMetrics) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "aka_calls", "Calls that have ended, whatever they came by.", labels=["service", "method", "code"]
    )
    seconds = HistogramMetricFamily(
        "aka_call_seconds", "Seconds from a call's arrival to its answer.", labels=["service", "method"]
    )
    for name, method in calls.methods.items():
        for code, number in sorted(method.codes.items()):
            ended.add_metric([*name, code_pb2.Code.Name(code)], number)
        _add(seconds, name, method.seconds)
    refusals = CounterMetricFamily("aka_refusals", "Calls and items of batches that were refused.", labels=["reason"])
    for reason in STATUS:
        refusals.add_metric([v1.ErrorReason.Name(reason).removeprefix(PREFIX)], calls.refusals[reason])
    yield from (ended, seconds, refusals)


def _of_store(store: StoreMetrics) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "aka_store_waiting", "Decisions of changes, or reads, that wait for a group.", labels=["queue"]
    )
    sizes = HistogramMetricFamily("aka_store_group_size", "Calls that were done together.", labels=["queue"])
    retries = CounterMetricFamily(
        "aka_store_retries", "Calls that ran again alone, since their group had failed.", labels=["queue"]
    )
    for name, queue in store.queues.items():
        waiting.add_metric([name], queue.waiting)
        _add(sizes, [name], queue.group_sizes)
        retries.add_metric([name], queue.retries)
    commits = HistogramMetricFamily("aka_store_commit_seconds", "Seconds that a commit took, synced to disk.")
    _add(commits, [], store.commits)
    changes = CounterMetricFamily("aka_store_changes", "Changes of the graph that were committed.", labels=["kind"])
    for kind, number in store.changes.items():
        changes.add_metric([kind], number)
    size = GaugeMetricFamily("aka_store_bytes", "Size of the store, file by file.", labels=["file"])
    for name, number in store.sizes.items():
        size.add_metric([name], number)
    yield from (waiting, sizes, retries, commits, changes, size)
    if store.resolutions is not None:
        yield from _of_cache(store.resolutions)


def _of_cache(resolutions: CacheMetrics) -> Iterator[Metric]:
    looked_up = CounterMetricFamily(
        "aka_store_resolutions", "Keys whose profile was to be told, by where that was found.", labels=["from"]
    )
    looked_up.add_metric(["memory"], resolutions.hits)
    looked_up.add_metric(["database"], resolutions.misses)
    yield looked_up
    yield GaugeMetricFamily(
        "aka_store_resolutions_kept", "Keys whose profile is kept in memory.", value=resolutions.size
    )


def _add(family: HistogramMetricFamily, labels: Iterable[str], histogram: Histogram) -> None:
    bounds = (*map(str, histogram.bounds), "+Inf")
    family.add_metric(list(labels), list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)
