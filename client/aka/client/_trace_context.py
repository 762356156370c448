"""The trace that calls belong to, where OpenTelemetry is installed."""

from collections.abc import Callable, Sequence
from typing import Any, Final


def _find_inject() -> Callable[[dict[str, str]], Any] | None:
    try:
        from opentelemetry.propagate import inject
    except ImportError:
        return None
    return inject


_inject: Final = _find_inject()


def trace_metadata() -> Sequence[tuple[str, str]]:
    """Return the current trace's context as metadata, in the form that the application's propagators give it."""
    if _inject is None:
        return ()
    carrier: dict[str, str] = {}
    _inject(carrier)
    return [(name.lower(), value) for name, value in carrier.items()]
