"""Which servers wrote a journal, and whether one copy of it is the beginning of another.

Every server that begins to write notes its epoch, a number that no other start has, and its term,
which goes up when a standby takes over. Two copies agree up to the last start that both have, and
on to where either of them has another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

#: Starts that are remembered. A copy whose last one is older has to be made anew.
KEPT = 64


class Start(NamedTuple):
    """A server began to write.

    Attributes
    ----------
    term : int
        From 1; up by one whenever a standby takes over.
    epoch : int
        Higher than that of every start before it.
    seq : int
        Of the last command before.
    """

    term: int
    epoch: int
    seq: int


class History:
    """The latest starts of a journal, oldest first.

    Parameters
    ----------
    starts : iterable of Start
    """

    def __init__(self, starts: Iterable[Start] = ()) -> None:
        self._starts = list(starts)[-KEPT:]

    @property
    def starts(self) -> list[Start]:
        """The latest starts, oldest first."""
        return list(self._starts)

    @property
    def term(self) -> int:
        """Of the latest start; 0 where there is none."""
        return self._starts[-1].term if self._starts else 0

    @property
    def epoch(self) -> int:
        """Of the latest start; 0 where there is none."""
        return self._starts[-1].epoch if self._starts else 0

    def add(self, start: Start) -> None:
        """Take the next start; one that is known already changes nothing."""
        if start.epoch > self.epoch:
            self._starts = [*self._starts, start][-KEPT:]

    def replace(self, other: History) -> None:
        """Become the same as another history."""
        self._starts = other.starts

    def next_start(self, term: int, now_ns: int, seq: int) -> Start:
        """Return the start that may follow: its epoch goes up even if the clock was set back."""
        return Start(term, max(now_ns, self.epoch + 1), seq)

    def shared_seq(self, last_seq: int, other: History, other_last_seq: int) -> int | None:
        """Return up to which command two copies are certain to agree.

        Parameters
        ----------
        last_seq, other_last_seq : int
            Where each of them ends.
        other : History

        Returns
        -------
        int or None
            None where they have no start in common.

        Examples
        --------
        >>> one = History([Start(1, 100, 0), Start(1, 200, 7)])
        >>> one.shared_seq(9, History([Start(1, 100, 0)]), 7)
        7
        >>> one.shared_seq(9, History([Start(1, 100, 0), Start(2, 300, 5)]), 6)
        5
        >>> one.shared_seq(9, History([Start(1, 50, 0)]), 6)
        """
        known = {start.epoch: at for at, start in enumerate(self._starts)}
        common = [at for at, start in enumerate(other._starts) if start.epoch in known]
        if not common:
            return None
        theirs = other._starts[common[-1] + 1:]
        mine = self._starts[known[other._starts[common[-1]].epoch] + 1:]
        return min(
            mine[0].seq if mine else last_seq,
            theirs[0].seq if theirs else other_last_seq)

    def dump(self) -> list[list[int]]:
        """Return the starts as lists, for messages and snapshots."""
        return [list(start) for start in self._starts]

    @classmethod
    def from_dump(cls, rows: Sequence[Any]) -> History:
        """Return the history of a dump.

        Raises
        ------
        TypeError, ValueError
            It is none.
        """
        starts = [Start(*row) for row in rows]
        if not all(type(each) is int and each >= 0 for start in starts for each in start):
            raise ValueError("a start is three numbers from 0")
        if sorted(starts, key=lambda start: start.epoch) != starts:
            raise ValueError("the starts are out of order")
        return cls(starts)
