"""When calls are traced: OpenTelemetry's variables say, the extra must be installed, and aka serves either way."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from aka.server.tracing import CannotTrace, start_tracing
from tests.cli.command import KEY, environment, identify, serving

WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry"] = None  # as if it was not installed
from aka.server.__main__ import main
main()
"""


@dataclass
class Collector:
    """What a collector of traces got."""

    address: str = ""
    service: dict[str, str] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)

    def export(self, request: otlp.ExportTraceServiceRequest, context: Any) -> otlp.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            self.service.update({it.key: it.value.string_value for it in resource.resource.attributes})
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return otlp.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that takes OTLP over gRPC."""
    collected = Collector()
    handler = grpc.unary_unary_rpc_method_handler(
        collected.export,
        request_deserializer=otlp.ExportTraceServiceRequest.FromString,
        response_serializer=otlp.ExportTraceServiceResponse.SerializeToString,
    )
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    collected.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield collected
    server.stop(None).wait()


def events(stderr: str) -> list[str]:
    return [json.loads(line)["event"] for line in stderr.splitlines() if line.startswith("{")]


def test_a_server_that_is_stopped_has_handed_its_spans_to_the_collector(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{collector.address}")
    with serving(cwd=tmp_path) as server:
        server.call("Identify", identify("u"))
        ended = server.stop()
    assert ended.code == 0
    assert "calls are traced" in events(ended.err)
    assert {span.name for span in collector.spans} >= {"aka.v1.AliasService/Identify", "group", "commit"}
    assert collector.service["service.name"] == "aka"


def test_a_collector_that_is_not_there_holds_up_neither_calls_nor_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with serving(cwd=tmp_path) as server:
        server.call("Identify", identify("u"))
        ended = server.stop()
    assert ended.code == 0
    assert events(ended.err)[-1] == "stopped"


@pytest.mark.parametrize("asked", [True, False])
def test_without_the_extra_aka_serves_and_says_so_where_traces_were_asked_for(tmp_path: Path, asked: bool) -> None:
    env = environment(bootstrap_api_key=KEY) | ({"OTEL_TRACES_EXPORTER": "otlp"} if asked else {})
    command = [sys.executable, "-c", WITHOUT_THE_EXTRA, "serve"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("aka ready grpc=")
        server.terminate()
        _, said = server.communicate(timeout=60)
    assert server.returncode == 0
    assert ("calls are not traced" in events(said)) == asked
    assert ("aka[telemetry]" in said) == asked


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SERVICE_NAME": "aka"},
    ],
)
def test_nothing_is_traced_unless_it_is_asked_for(environ: dict[str, str]) -> None:
    assert start_tracing(environ) is None


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_TRACES_EXPORTER": "no-such-exporter"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "no-such-protocol"},
    ],
)
def test_an_exporter_that_is_not_installed_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(CannotTrace, match=r"no-such-(exporter|protocol)"):
        start_tracing(environ)


def test_a_value_that_opentelemetry_refuses_is_a_line_without_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    with pytest.raises(CannotTrace, match="OTEL_") as problem:
        start_tracing({"OTEL_TRACES_EXPORTER": "otlp"})
    assert "soon" not in str(problem.value)
