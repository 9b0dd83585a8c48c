"""The formats of feed files, and how one is told: by the content, never by the name.

Where a header says too little the name decides between two kinds of the same content
(Tardis liquidations and trades); docs/formats.md says where.
"""

from __future__ import annotations

from engine.errors import InputError
from engine.feeds import (
    binance_vision,
    bybit,
    candles,
    databento,
    hftbacktest,
    klines,
    lean,
    lobster_replay,
    streams,
    tardis,
)
from engine.feeds.files import LINE_LENGTH_MAX, read_beginning
from engine.feeds.source import Format, Head

#: In the order in which they are asked; formats of bytes first, then of headers, then of places.
FORMATS: tuple[Format, ...] = (
    *databento.FORMATS,
    *hftbacktest.FORMATS,
    *candles.FORMATS,
    *tardis.FORMATS,
    *bybit.FORMATS,
    *streams.FORMATS,
    *binance_vision.FORMATS,
    *lean.FORMATS,
    *klines.FORMATS,
    *lobster_replay.FORMATS,
)


def find_format(path: str) -> Format:
    """Tell a file's format.

    Parameters
    ----------
    path : str

    Returns
    -------
    Format

    Raises
    ------
    InputError
        Missing or unreadable file, or content of no known format.
    """
    content = read_beginning(path)
    number, line = _first_line(content)
    head = Head(path, content, line)
    for candidate in FORMATS:
        if candidate.sniff(head):
            return candidate
    if b"\n" not in content and len(content) >= LINE_LENGTH_MAX and not line.startswith("{"):
        raise InputError(
            f"{path}:1: not a text table: no line end in {LINE_LENGTH_MAX} bytes"
        )
    raise InputError(
        f"{path}:{number}: of no format that is known (docs/formats.md lists them); "
        f"it begins with {line[:60]!r}"
    )


def _first_line(content: bytes) -> tuple[int, str]:
    for number, line in enumerate(content.split(b"\n"), 1):
        text = line.rstrip(b"\r").decode("ascii", "surrogateescape")
        if text:
            return number, text
    return 1, ""
