"""Whether calls are traced: OpenTelemetry's own environment variables say, where the extra `telemetry` is installed."""

from collections.abc import Mapping
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # it needs the extra
    from aka.server.spans import Spans

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class CannotTrace(Exception):
    """The environment asks for traces that cannot be; the message is one line for the operator."""


def start_tracing(environ: Mapping[str, str]) -> "Spans | None":
    """Return what makes and exports spans; None where the environment asks for none. CannotTrace otherwise.

    `OTEL_TRACES_EXPORTER` names exporters (`otlp`, `console`, any that is installed, `none`); without it an endpoint
    of OTLP asks for `otlp`. Sampling, batches, headers and the resource are the SDK's to read.
    """
    exporters = _exporters(environ)
    if not exporters or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from aka.server.spans import Spans
    except ImportError:
        raise CannotTrace("OTEL_* asks for them, but an extra is not installed: pip install 'aka[telemetry]'") from None
    try:
        own = Resource.create({"service.name": "aka", "service.version": version("aka")})
        provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        for name in exporters:
            provider.add_span_processor(BatchSpanProcessor(_exporter(name)()))
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # its text may bear a variable's value
        raise CannotTrace(f"OpenTelemetry refuses one of the OTEL_* variables ({type(error).__name__})") from None
    return Spans(provider)


def _exporter(name: str) -> Any:
    """Return the class of an exporter that is installed."""
    for found in entry_points(group="opentelemetry_traces_exporter", name=name):
        return found.load()
    raise CannotTrace(f"OTEL_TRACES_EXPORTER asks for the exporter {name}, which is not installed")


def _exporters(environ: Mapping[str, str]) -> list[str]:
    """Return the exporters by the names under which they are installed."""
    default = "otlp" if any(environ.get(name) for name in _ENDPOINTS) else "none"
    given = [name.strip() for name in (environ.get("OTEL_TRACES_EXPORTER") or default).split(",")]
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), "grpc")
    otlp = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}.get(protocol, f"otlp of {protocol}")
    return [otlp if name == "otlp" else name for name in given if name and name != "none"]
