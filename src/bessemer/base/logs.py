"""Logging: a constant message and fields, one line a record.

``logs.get(__name__).info("pod started", extra=fields(pod="a/b", pid=7))`` prints
``18:40:01.123 INFO  cluster.kubelet pod started pod=a/b pid=7``.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

_FIELDS = "bessemer_fields"


def get(name: str) -> logging.Logger:
    """The logger of a module (pass ``__name__``)."""
    return logging.getLogger(name)


def fields(**values: object) -> dict[str, object]:
    """The ``extra=`` of a log call: its variable parts by name."""
    return {_FIELDS: values}


class LineFormatter(logging.Formatter):
    """One line: time (UTC), level, room, message, fields; then the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        values: dict[str, object] = getattr(record, _FIELDS, {})
        tail = "".join(f" {key}={_quote(value)}" for key, value in values.items())
        name = record.name.removeprefix("bessemer.")
        stamp = moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
        line = f"{stamp} {record.levelname:<7} {name} {record.getMessage()}{tail}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _quote(value: object) -> str:
    text = str(value)
    return repr(text) if " " in text or "\n" in text or not text else text


def configure(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send every record to the stream (stderr if None) as single lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
