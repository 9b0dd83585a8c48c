"""Errors that a user of the engine can meet, and who is to blame for each."""

from __future__ import annotations


class EngineError(Exception):
    """Base of the errors raised on purpose by this package."""


class InputError(EngineError):
    """The input was wrong; the message says what and where, in one line (exit code 2)."""


class CommandError(InputError):
    """A command or query does not fit its schema: unknown, missing or wrongly typed field."""


class RunError(EngineError):
    """The run failed though the input was right (exit code 1)."""


class InvariantViolation(EngineError):
    """The impossible happened. The engine refuses further commands."""
