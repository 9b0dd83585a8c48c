"""Errors that a user of the engine can meet, and who is to blame for each.

`code` is the number that Binance's futures API gives to the same trouble, or to the nearest
that it knows; `engine.embedding.codes` has the table.
"""

from __future__ import annotations

from collections.abc import Sequence


class EngineError(Exception):
    """Base of the errors raised on purpose by this package."""


class InputError(EngineError):
    """The input was wrong; the message says what and where, in one line (exit code 2)."""


class CommandError(InputError):
    """A command or query does not fit its schema: unknown, missing or wrongly typed field.

    Attributes
    ----------
    code : int
        -1102, Binance's code of a parameter that is missing or malformed.
    """

    code = -1102


class Rejected(EngineError):
    """A typed command or query cannot be done; nothing has changed.

    Attributes
    ----------
    command : str
        Name of the command or query, as in the contract (``"order"``).
    reason : str
        Why, by the contract's name (``"insufficient_margin"``).
    detail : str
        The same for a person, with the numbers.
    code : int
        What Binance would answer (-2019).
    acknowledgement : engine.Acknowledgement or None
        The number that the command used up and its events: the `rejected` one, after what
        fell due by its `ts`. None for a query.
    """

    def __init__(
        self, command: str, reason: str, detail: str, code: int, acknowledgement: object = None
    ) -> None:
        super().__init__(f"{command}: {reason}: {detail}")
        self.command = command
        self.reason = reason
        self.detail = detail
        self.code = code
        self.acknowledgement = acknowledgement


class SubscriberError(EngineError):
    """A subscriber's callback raised; the command stands, and the others got their events.

    Attributes
    ----------
    errors : tuple of Exception
        What was raised, in order; the first is also the cause of this error.
    outcome : object
        What the call would have returned, or the `Rejected` that it would have raised.
    """

    def __init__(self, errors: Sequence[Exception], outcome: object) -> None:
        super().__init__(f"a subscriber failed, the command stands: {errors[0]!r}")
        self.errors = tuple(errors)
        self.outcome = outcome


class RunError(EngineError):
    """The run failed though the input was right (exit code 1)."""


class InvariantViolation(EngineError):
    """The impossible happened. The engine refuses further commands."""
