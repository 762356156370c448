"""Logging: structlog to stderr, as JSON lines or as text. No identifier, header or body is ever logged."""

import logging
import sys

import structlog


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
