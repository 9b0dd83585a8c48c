"""What several sources of one symbol's mark agree on.

A source's newest price counts while it is fresh. The mark is the median of those that count,
once whoever is astray from it has been set aside; with too few of them there is none. The
arithmetic is that of an index (`engine.pricing.Index`). No clock and no sockets here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.errors import InputError
from engine.pricing.index import Index, IndexReading, Reason
from engine.pricing.rules import IndexRules, Source
from engine.pricing.scale import SECOND_NS, PriceScale, exact
from engine.units import DecimalLike


@dataclass(frozen=True)
class AgreementRules:
    """When sources agree.

    Attributes
    ----------
    min_sources : int, default 1
        With fewer that count there is no mark.
    max_deviation : decimal or None, default 0.02
        Distance from the median of the fresh sources, as a part of it, beyond which a source
        is set aside. Exactly that far is not. None: nobody is.
    max_age_ns : int, default 10 s
        A price older than this is stale. Exactly this old is still fresh.

    Raises
    ------
    InputError
    """

    min_sources: int = 1
    max_deviation: DecimalLike | None = "0.02"
    max_age_ns: int = 10 * SECOND_NS

    def __post_init__(self) -> None:
        self.index_rules()
        if self.max_age_ns < 1:
            raise InputError(f"max_age_ns is above zero, not {self.max_age_ns}")
        if self.max_deviation is not None and exact(self.max_deviation, "max_deviation") <= 0:
            raise InputError(f"max_deviation is above zero, not {self.max_deviation}")

    def index_rules(self) -> IndexRules:
        """Return the same as rules of an index of equal weights."""
        return IndexRules(
            min_sources=self.min_sources, combine="median", outlier_bound=self.max_deviation,
            outlier_rule="drop", many_outliers="each")


class Agreed(NamedTuple):
    """What the sources of a symbol come to at one time.

    Attributes
    ----------
    mark : str or None
        On the mark tick; None where too few sources count.
    index_price : str or None
        The same of the index prices that they publish beside their marks.
    used : tuple of str
        Sources that count for the mark.
    left_out : tuple of (str, {"missing", "stale", "outlier"})
    """

    mark: str | None
    index_price: str | None
    used: tuple[str, ...]
    left_out: tuple[tuple[str, Reason], ...]

    @property
    def set_aside(self) -> frozenset[str]:
        """Sources that are fresh, and too far from the median."""
        return frozenset(name for name, reason in self.left_out if reason == "outlier")


class Agreement:
    """Sources of the mark of one symbol.

    Parameters
    ----------
    mark_tick : decimal
        As in the symbol's instrument.
    names : sequence of str
        Of all sources there are; not each has to have this symbol.
    rules : AgreementRules

    Notes
    -----
    Complexity: O(sources × log sources) a reading.

    Rounding
        A price that comes in to 1e-8 of the mark tick, of an even number of sources the middle
        of the two middle prices to the same, then to the mark tick, at least one: each to the
        nearest, ties to even.

    Examples
    --------
    >>> marks = Agreement("0.1", ["a", "b", "c"], AgreementRules(min_sources=2))
    >>> for name, price in (("a", "60000"), ("b", "60000.5"), ("c", "66000")):
    ...     marks.observe(name, price, None, 0)
    >>> agreed = marks.read(0)
    >>> agreed.mark, agreed.used, agreed.left_out
    ('60000.2', ('a', 'b'), (('c', 'outlier'),))
    """

    def __init__(
        self, mark_tick: DecimalLike, names: Sequence[str], rules: AgreementRules
    ) -> None:
        sources = [Source(name, max_age_ns=rules.max_age_ns) for name in names]
        self._scale = PriceScale(mark_tick)
        self._marks = Index(sources, rules.index_rules())
        self._indices = Index(sources, rules.index_rules())

    def observe(self, name: str, mark: str, index: str | None, observed_ns: int) -> None:
        """Take what a source says; a price observed before its newest is dropped.

        Raises
        ------
        InputError
            A price beyond what the engine can hold; nothing was taken.
        """
        read = self._scale.read(mark, "mark")
        read_index = None if index is None else self._scale.read(index, "index")
        self._marks.observe(name, read, observed_ns)
        if read_index is not None:
            self._indices.observe(name, read_index, observed_ns)

    def read(self, ts_ns: int) -> Agreed:
        """Return what they agree on at a time that does not go back; nothing changes by it."""
        reading = self._marks.read(ts_ns)
        return Agreed(
            self._text(reading), self._text(self._indices.read(ts_ns)), reading.used,
            reading.left_out)

    def _text(self, reading: IndexReading) -> str | None:
        if reading.is_held or reading.price is None:
            return None
        return self._scale.tick_text(reading.price)

    def next_expiry(self, ts_ns: int) -> int | None:
        """Return when the next fresh source turns stale, None where there is none."""
        return self._marks.next_expiry(ts_ns)

    def dump(self) -> list[Any]:
        """Return the state as lists, for `load`."""
        return [self._marks.dump(), self._indices.dump()]

    def load(self, state: list[Any]) -> None:
        """Go on from a state of the same sources."""
        for index, rows in zip((self._marks, self._indices), state, strict=True):
            index.load(rows)
