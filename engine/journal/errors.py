"""What can go wrong with a journal, and who is to blame."""

from __future__ import annotations

from engine.errors import InputError, RunError


class JournalError(InputError):
    """A journal cannot be used: damaged, of another version, or taken (exit code 2)."""


class JournalWriteError(RunError):
    """The disk did not take a batch; nothing after it may be acknowledged (exit code 1)."""
