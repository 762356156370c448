"""Logging: structlog to stderr, as JSON lines or as text. No identifier, header or body is ever logged."""

import logging
import sys
import traceback
from typing import Any

# structlog imports rich where it can, for tracebacks, which aka never logs: a fifth of all that a server imports.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
import structlog  # noqa: E402

if not sys.modules["rich"]:
    del sys.modules["rich"]

log = structlog.get_logger("aka.server")
"""aka's logger."""


def set_up(level: str, form: str | None) -> None:
    """Log from `level` up, as `json` or `text`; None: text on a terminal, else json."""
    if form is None:
        form = "text" if sys.stderr.isatty() else "json"
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _Libraries)] + [_Libraries()]


class _Libraries(logging.Handler):
    """Logs that a library below aka had something to say and where, but not what: grpc's words may be a header."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record's place and the kind of its error."""
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        place = f"{record.pathname}:{record.lineno} {record.funcName}"
        log.log(record.levelno, record.name, place=place, error=error)


def tells_all() -> bool:
    """Whether every call is logged: at the lowest level."""
    return bool(log.is_enabled_for(logging.DEBUG))


def call(*, slow: bool, **what: Any) -> None:
    """Log a call that has ended; a slow one as a warning. What is None is left out."""
    level = logging.WARNING if slow else logging.DEBUG
    log.log(level, "slow call" if slow else "call", **_known(what))


def bug(error: Exception, **where: Any) -> None:
    """Log where a bug came from, but not its message, which may bear an identifier. What is None is left out."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    known = _known(where)
    log.error("internal error", **known, error=type(error).__name__, frames=frames)


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
