"""Processes that were used and asked for their metrics, which many tests look at."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.cli.command import KEY, Serving, identify, serving
from tests.telemetry.scraping import Scrape, metrics_address, post, scrape

ADDRESSES = {"rest_address": "127.0.0.1:0", "metrics_address": "127.0.0.1:0"}


@dataclass(frozen=True)
class Served:
    """A server with a gateway and metrics."""

    server: Serving
    metrics: str
    folder: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that runs on."""
    folder = tmp_path_factory.mktemp("metrics")
    with serving(cwd=folder, settings=ADDRESSES) as server:
        yield Served(server, metrics_address(server.stderr), folder)


@pytest.fixture(scope="session")
def fresh(served: Served) -> Scrape:
    """Its metrics before it was used."""
    return scrape(served.metrics)


@pytest.fixture(scope="session")
def used(served: Served, fresh: Scrape) -> Scrape:
    """Its metrics after some calls over gRPC and some requests over REST."""
    server = served.server
    server.call("Identify", identify("u", "v"))
    server.call("Alias", {"user_id": "u", "alias_id": "a"})
    server.call("Alias", {"user_id": "u", "alias_id": "v", "merge_policy": "MERGE_POLICY_ALWAYS"})
    server.call("DeleteAlias", {"id": "a"})
    server.call("BatchAlias", {"requests": [{"user_id": "nobody", "alias_id": f"b{n}"} for n in range(3)]})
    server.call("Resolve", {"identifiers": [{"id": f"u{n}"} for n in range(100)]})
    for key in ("no-key-of-this-server", KEY):
        with suppress(grpc.RpcError):
            server.call("Alias", {}, key)
    post(server.rest, "/alias", {"distinct_id": "u", "alias_id": "c"})
    post(server.rest, "/alias", {"distinct_id": "u"})
    post(server.rest, "/aka.v1.AliasService/Resolve", {"identifiers": [{"id": "u"}]})
    post(server.rest, "/no/such/path", {})
    return scrape(served.metrics)
