"""Symbols without a good mark: their liquidations stop, and go on when there is one again.

Both are commands (`halt` with `no_liquidation`, `resume`), so a replay of the journal needs nothing
of this. A halt that somebody else has set is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.messages import HaltMode

Command = dict[str, Any]
_OUR_MODE = HaltMode.NO_LIQUIDATION


@dataclass
class _Watched:
    is_stale: bool = False
    owns_halt: bool = False
    # Somebody has resumed the symbol although it is stale: that stands until it is fresh.
    is_overruled: bool = False


class Watch:
    """Follows symbols from their first mark on.

    Parameters
    ----------
    halt_of : callable
        The halt of a symbol in force, None where it is unknown.
    report : callable
        Takes one line each time a symbol turns stale or is back.

    Attributes
    ----------
    stale_count : int
        How often a symbol turned stale.
    """

    def __init__(
        self, halt_of: Callable[[str], HaltMode | None], report: Callable[[str], None]
    ) -> None:
        self.stale_count = 0
        self._halt_of = halt_of
        self._report = report
        self._symbols: dict[str, _Watched] = {}
        self._new_halts: set[str] = set()

    @property
    def symbols(self) -> list[str]:
        """Symbols that have had a mark."""
        return list(self._symbols)

    @property
    def stale(self) -> list[str]:
        """Those that have no good one now, by name."""
        return sorted(name for name, watched in self._symbols.items() if watched.is_stale)

    def begin(self) -> list[Command]:
        """Begin a turn: what was returned before has been applied.

        Returns
        -------
        list of dict
            Halts of stale symbols that were under another halt until now.
        """
        self._new_halts.clear()
        commands: list[Command] = []
        for symbol in self.stale:
            watched, halt = self._symbols[symbol], self._halt_of(symbol)
            if watched.owns_halt and halt != _OUR_MODE:
                watched.owns_halt, watched.is_overruled = False, halt == HaltMode.NONE
            if not watched.owns_halt and not watched.is_overruled and halt == HaltMode.NONE:
                commands += self._halt(symbol, watched)
        return commands

    def found(self, symbol: str) -> list[Command]:
        """A mark was made; return what is to follow it."""
        watched = self._symbols.setdefault(symbol, _Watched())
        if not watched.is_stale:
            return []
        owns_halt = watched.owns_halt and (
            symbol in self._new_halts or self._halt_of(symbol) == _OUR_MODE)
        self._symbols[symbol] = _Watched()
        self._report(f"{symbol}: marks are back, liquidations go on")
        return [{"cmd": "resume", "symbol": symbol}] if owns_halt else []

    def lost(self, symbol: str, why: str) -> list[Command]:
        """There is no good mark any more; return what is to be commanded."""
        watched = self._symbols.get(symbol)
        if watched is None or watched.is_stale:
            return []
        watched.is_stale = True
        self.stale_count += 1
        self._report(f"{symbol}: stale, {why}: liquidations of it stop")
        if self._halt_of(symbol) != HaltMode.NONE:
            return []
        return self._halt(symbol, watched)

    def _halt(self, symbol: str, watched: _Watched) -> list[Command]:
        watched.owns_halt = True
        self._new_halts.add(symbol)
        return [{"cmd": "halt", "symbol": symbol, "mode": _OUR_MODE.name.lower()}]

    def dump(self) -> list[Any]:
        """Return the state as lists, for `load`."""
        return [[name, watched.is_stale, watched.owns_halt, watched.is_overruled]
                for name, watched in self._symbols.items()]

    def load(self, state: list[Any]) -> None:
        """Go on from a state."""
        self._symbols = {name: _Watched(*flags) for name, *flags in state}
