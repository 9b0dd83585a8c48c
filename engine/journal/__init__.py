"""The journal: every command that reached the exchange, durable before it is applied.

`layout` has the bytes (docs/formats.md says the same in words), `storage` the calls to the
operating system, `reader` and `store` read and append. `engine.serving.recovery` brings an
exchange to where a journal ends.
"""

from __future__ import annotations

from engine.journal.errors import JournalError, JournalWriteError
from engine.journal.layout import Batch, Entry, Kind, PackedEntry
from engine.journal.reader import JournalReader
from engine.journal.storage import Storage
from engine.journal.store import Journal

__all__ = [
    "Batch",
    "Entry",
    "Journal",
    "JournalError",
    "JournalReader",
    "JournalWriteError",
    "Kind",
    "PackedEntry",
    "Storage",
]
