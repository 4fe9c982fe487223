"""Structured logs on standard error: JSON for machines, lines for people."""

import logging
import sys
from typing import Any

import msgspec
import structlog

from keyfold.settings import Settings


def set_up_logging(settings: Settings) -> None:
    """Events of Keyfold at the level of the settings; libraries say warnings only, since httpx and uvicorn log URLs."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
    as_text = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(_json) if settings.log_format == "json" else as_text,
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def _json(event: dict[str, Any], **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()
