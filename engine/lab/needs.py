"""The libraries that the lab needs, asked for before work begins and not in its midst."""

from __future__ import annotations

from importlib import import_module

from engine.errors import RunError


def require(*names: str) -> None:
    """See that libraries of the extra `lab` are there.

    Raises
    ------
    RunError
        One is missing.
    """
    for name in names:
        try:
            import_module(name)
        except ImportError:
            raise RunError(f"{name} is missing: install the extra `lab`") from None
