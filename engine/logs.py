"""What a process says on stderr: lines for people, or JSON objects for programs.

The standard logging module does the work, so a program that embeds the engine can take the
lines of the logger `engine` where it likes. Every line has a level and the name of an event;
fields come with it in JSON. No secret is ever given to it.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

FORMATS = ("text", "json")

_LOGGER = logging.getLogger("engine")
#: What every line has; a field of the same name is put behind it with an underscore.
_FIXED = ("ts", "level", "event", "message")


class _Json(logging.Formatter):
    """One object a line: time, level, event, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            "message": record.getMessage(),
        }
        for name, value in getattr(record, "fields", {}).items():
            line[f"{name}_" if name in _FIXED else name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class _Stderr(logging.Handler):
    """Writes to whatever stderr is now, one line at a time."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except OSError:
            pass  # nobody reads stderr any more, and there is nowhere else to say so


def configure(style: str) -> None:
    """Send the lines of this process to stderr, those of its libraries included.

    Parameters
    ----------
    style : {"text", "json"}
        Text is the message alone.
    """
    handler = _Stderr()
    handler.setFormatter(_Json() if style == "json" else logging.Formatter("%(message)s"))
    logging.getLogger().handlers = [handler]
    _LOGGER.setLevel(logging.INFO)


def say(line: str, event: str = "note", level: int = logging.INFO, **fields: object) -> None:
    """Say one line.

    Parameters
    ----------
    line : str
        Complete by itself: the text format shows nothing else.
    event : str
        What kind of line it is, for whoever counts or filters.
    level : int
        Of the logging module.
    fields : object
        What a program would have to read out of the line.
    """
    _LOGGER.log(level, "%s", line, extra={"event": event, "fields": fields})


def tagged(
    take: Callable[[str], None], event: str, level: int = logging.WARNING, **fields: object
) -> Callable[[str], None]:
    """Return a callable that says lines of one event, if `take` is `say`; else `take`."""
    if take is not say:
        return take
    return lambda line: say(line, event, level, **fields)
