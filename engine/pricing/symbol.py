"""One symbol: what is known of it, and what happens at each instant of its clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

from engine.pricing.basis import BasisAverage, BasisEma
from engine.pricing.book import BookView, ImpactTerms, Level
from engine.pricing.funding import FundingTerms, impact_notional, next_multiple
from engine.pricing.index import Index, IndexReading
from engine.pricing.mark import exact_median, funding_basis_price, round_mark
from engine.pricing.premium import PremiumAverage, premium_index
from engine.pricing.rules import Component, SymbolConfig
from engine.pricing.scale import SUBTICKS_PER_TICK, PriceScale, exact, rate_units
from engine.pricing.state import Stateful
from engine.units import RATE, fraction_text


@dataclass(frozen=True)
class Instant:
    """What one instant makes of a symbol.

    Attributes
    ----------
    mark, index : str or None
        Prices of a mark, both on the mark tick; None where there is no mark now.
    cause : int or None
        The command whose trade moved the mark, where one did.
    is_halt, is_resume : bool
        The index has just been lost, or found again.
    rate : str or None
        The rate to settle now; None unless the instant is a boundary.
    """

    mark: str | None = None
    index: str | None = None
    is_halt: bool = False
    is_resume: bool = False
    rate: str | None = None
    cause: int | None = None


class OwnMarket(NamedTuple):
    """What a mark takes from the own market: subticks, and doubled ones of the bases."""

    last: int | None
    book: BookView | None
    basis_average: Fraction | None
    basis_ema: Fraction | None


@dataclass(frozen=True)
class Status:
    """What is known of a symbol after the last instant of its clocks.

    Attributes
    ----------
    symbol : str
    ts_ns : int
        Time up to which the clocks have run.
    index : IndexReading
        As of then: sources used, left out and clamped, and whether the price is held.
    index_price, mark_price : str or None
        The index, not rounded to the tick, and the last mark.
    components : dict of str to str
        Prices that the last mark was the median of, to eight decimals.
    premium_average : str or None
        Average of the interval so far, to twelve decimals.
    premium_count, thin_count : int
        Samples of the interval so far, and those with a side too thin.
    thin_sides : tuple of str
        Sides of the newest book that cannot fill the impact notional.
    predicted_rate : str
        What would be settled if the interval ended now.
    settled_rate : str or None
        What was settled last.
    next_funding_ns : int
    """

    symbol: str
    ts_ns: int
    index: IndexReading
    index_price: str | None
    mark_price: str | None
    components: dict[str, str]
    premium_average: str | None
    premium_count: int
    thin_count: int
    thin_sides: tuple[str, ...]
    predicted_rate: str
    settled_rate: str | None
    next_funding_ns: int


class SymbolPricer(Stateful):
    """State of one symbol; driven by `PriceEngine`, which knows the order of time.

    Parameters
    ----------
    config : SymbolConfig
    start_ns : int
        Instants from here on are worked off, each once, in order. A boundary right here is
        not settled: nothing is known of the interval before it.
    """

    STATE = (
        "index", "_basis", "_ema", "_start_ns", "_premium", "_book", "_last", "_last_ns",
        "_last_seq", "_own_before", "_mark", "_components", "_rate", "_is_halted")

    def __init__(self, config: SymbolConfig, start_ns: int) -> None:
        self.config = config
        self.scale = PriceScale(config.mark_tick)
        self.index = Index(config.sources, config.index)
        self._impact = ImpactTerms.of(
            impact_notional(config), exact(config.contract_size, "contract_size"),
            is_inverse=config.kind == "inverse", scale=self.scale)
        self._terms = FundingTerms.of(config)
        rules = config.mark
        self._band = None if rules.band is None else rate_units(rules.band, "band")
        self._basis = BasisAverage(rules.basis_window_ns)
        self._ema = BasisEma(rules.ema_decay_ns, rules.basis_sample_ns)
        self._start_ns = start_ns
        self._premium = PremiumAverage(
            config.premium, config.funding.interval_ns, start_ns - 1)
        self._book: BookView | None = None
        self._last: int | None = None
        # When that was traded, and in which command; and what the mark before took of the market.
        self._last_ns = 0
        self._last_seq: int | None = None
        self._own_before: OwnMarket | None = None
        self._mark: int | None = None
        self._components: dict[Component, Fraction] = {}
        self._rate: int | None = None
        self._is_halted = False

    # --- what comes in --------------------------------------------------------------------

    def set_book(self, ts_ns: int, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Take a snapshot of the own book."""
        self._book = BookView.of(ts_ns, bids, asks, self._impact)

    def load(self, state: Any) -> None:
        """Go on from a state of the same configuration."""
        super().load(state)
        self._book = None if self._book is None else BookView(*self._book)
        if self._own_before is not None:
            last, book, *bases = self._own_before
            self._own_before = OwnMarket(last, None if book is None else BookView(*book), *bases)

    def set_last(self, price: int, ts_ns: int, seq: int | None) -> None:
        """Take the price of a trade, in subticks, and the command that it belongs to."""
        self._last, self._last_ns, self._last_seq = price, ts_ns, seq

    # --- clocks ---------------------------------------------------------------------------

    def next_instant(self, after_ns: int) -> int:
        """Return the next instant after `after_ns` at which something may happen.

        Once too few sources are fresh, and the index is no longer held, nothing but
        settlements can happen until there is news; so a gap in the inputs costs one step a
        settlement, however long it is.
        """
        funding_ns = next_multiple(after_ns, self.config.funding.interval_ns)
        if self._is_quiet(after_ns):
            return funding_ns
        mark = self.config.mark
        return min(
            funding_ns, next_multiple(after_ns, mark.interval_ns),
            next_multiple(after_ns, mark.basis_sample_ns),
            next_multiple(after_ns, self.config.premium.sample_ns))

    def _is_quiet(self, ts_ns: int) -> bool:
        if self.index.fresh_count(ts_ns) >= self.config.index.min_sources:
            return False
        if self.config.mark.on_held == "halt" and self._mark is not None and not self._is_halted:
            return False
        reading = self.index.read(ts_ns)
        return reading.good_ns is None or ts_ns - reading.good_ns > self.config.mark.hold_ns

    def step(self, ts_ns: int) -> Instant:
        """Work off one instant: samples first, then the mark, then the settlement."""
        config = self.config
        reading = self.index.read(ts_ns)
        self.index.keep(reading)
        if not reading.is_held and reading.price is not None:
            if ts_ns % config.mark.basis_sample_ns == 0:
                self._sample_basis(ts_ns, reading.price)
            if ts_ns % config.premium.sample_ns == 0:
                self._sample_premium(ts_ns, reading.price)
        is_boundary = ts_ns % config.funding.interval_ns == 0
        done = Instant()
        if ts_ns % config.mark.interval_ns == 0:
            done = self._make_mark(ts_ns, reading, is_boundary=is_boundary)
        if not is_boundary:
            return done
        if ts_ns == self._start_ns:
            self._premium.start(ts_ns)
            return done
        rate = self._settle(ts_ns, reading.price)
        return replace(done, rate=rate)

    # --- samples --------------------------------------------------------------------------

    def _fresh_book(self, ts_ns: int) -> BookView | None:
        book, max_age = self._book, self.config.book_max_age_ns
        if book is None or (max_age is not None and ts_ns - book.ts_ns > max_age):
            return None
        return book

    def _sample_basis(self, ts_ns: int, index: int) -> None:
        book = self._fresh_book(ts_ns)
        if book is None:
            return
        doubled = book.double_mid(is_impact=self.config.mark.basis_price == "impact_mid")
        if doubled is not None:
            self._basis.add(ts_ns, doubled - 2 * index)
            self._ema.add(ts_ns, doubled - 2 * index)

    def _sample_premium(self, ts_ns: int, index: int) -> None:
        book = self._fresh_book(ts_ns)
        if book is None or book.is_crossed:
            return
        is_thin = bool(book.thin_sides)
        if is_thin and self.config.premium.thin_side == "skip":
            return
        premium = premium_index(index, book.impact_bid, book.impact_ask)
        self._premium.add(ts_ns, premium, is_thin=is_thin)

    # --- mark -----------------------------------------------------------------------------

    def _make_mark(self, ts_ns: int, reading: IndexReading, *, is_boundary: bool) -> Instant:
        rules = self.config.mark
        index, good_ns = reading.price, reading.good_ns
        if index is None or good_ns is None or ts_ns - good_ns > rules.hold_ns:
            if rules.on_held == "silent" or self._mark is None or self._is_halted:
                return Instant()
            self._is_halted = True
            return Instant(is_halt=True)
        own = OwnMarket(
            self._last, self._fresh_book(ts_ns), self._basis.value(ts_ns), self._ema.value())
        components = self._component_prices(ts_ns, index, own, is_boundary=is_boundary)
        if not components:
            return Instant()
        self._components = components
        self._mark = round_mark(exact_median(components.values()), index, self._band)
        cause = self._cause(ts_ns, index, is_boundary=is_boundary)
        self._own_before = own
        is_resume, self._is_halted = self._is_halted, False
        return Instant(
            self.scale.text(self._mark), self.scale.tick_text(index), is_resume=is_resume,
            cause=cause)

    # The command of the newest trade, if the mark is not what it would be with the own market as
    # the mark before saw it, and the trade is not older than what the components remember.
    def _cause(self, ts_ns: int, index: int, *, is_boundary: bool) -> int | None:
        rules = self.config.mark
        memory_ns = max(
            rules.interval_ns,
            rules.basis_window_ns if "basis_average" in rules.components else 0,
            rules.ema_decay_ns if "basis_ema" in rules.components else 0)
        if self._last_seq is None or self._own_before is None or (
                ts_ns - self._last_ns > memory_ns):
            return None
        held = self._component_prices(ts_ns, index, self._own_before, is_boundary=is_boundary)
        if held and round_mark(
                exact_median(held.values()), index, self._band) == self._mark:
            return None
        return self._last_seq

    def _component_prices(
        self, ts_ns: int, index: int, own: OwnMarket, *, is_boundary: bool
    ) -> dict[Component, Fraction]:
        prices: dict[Component, Fraction] = {}
        for name in self.config.mark.components:
            price = self._component_price(name, ts_ns, index, own, is_boundary=is_boundary)
            if price is not None:
                prices[name] = price
        return prices

    def _component_price(
        self, name: Component, ts_ns: int, index: int, own: OwnMarket, *, is_boundary: bool
    ) -> Fraction | None:
        if name == "index":
            return Fraction(index)
        if name == "funding_basis":
            interval_ns = self.config.funding.interval_ns
            # At a boundary the settlement is still to come: no time is left.
            left_ns = 0 if is_boundary else next_multiple(ts_ns, interval_ns) - ts_ns
            return funding_basis_price(index, self._basis_rate(ts_ns), left_ns, interval_ns)
        if name == "last":
            return None if own.last is None else Fraction(own.last)
        if name == "book_median":
            return self._book_median(own)
        basis = own.basis_average if name == "basis_average" else own.basis_ema
        return None if basis is None else index + basis

    def _basis_rate(self, ts_ns: int) -> int:
        if self.config.mark.basis_rate == "predicted":
            return self._predict(ts_ns)
        return self._rate or 0

    @staticmethod
    def _book_median(own: OwnMarket) -> Fraction | None:
        book, last = own.book, own.last
        prices = [last] if book is None else [book.best_bid, book.best_ask, last]
        known = [Fraction(price) for price in prices if price is not None]
        return exact_median(known) if known else None

    # --- funding --------------------------------------------------------------------------

    def _predict(self, ts_ns: int) -> int:
        return self._terms.rate(self._premium.value(ts_ns), self._rate)

    def _settle(self, ts_ns: int, index: int | None) -> str:
        self._rate = self._predict(ts_ns)
        self._premium.start(ts_ns)
        mark = None if self._mark is None else self._mark * SUBTICKS_PER_TICK
        return RATE.text(self._terms.settled(self._rate, index, mark))

    def status(self, ts_ns: int) -> Status:
        """Return what is known after the clocks have run up to `ts_ns`; changes nothing."""
        reading = self.index.read(ts_ns)
        premium = self._premium.value(ts_ns)
        subtick = self.scale.subtick
        return Status(
            symbol=self.config.symbol,
            ts_ns=ts_ns,
            index=reading,
            index_price=None if reading.price is None else self.scale.subtick_text(reading.price),
            mark_price=None if self._mark is None else self.scale.text(self._mark),
            components={
                name: fraction_text(price * subtick, 8)
                for name, price in self._components.items()},
            premium_average=None if premium is None else fraction_text(
                premium * Fraction(1, 10**12), 12),
            premium_count=self._premium.sample_count,
            thin_count=self._premium.thin_count,
            thin_sides=() if self._book is None else self._book.thin_sides,
            predicted_rate=RATE.text(self._predict(ts_ns)),
            settled_rate=None if self._rate is None else RATE.text(self._rate),
            next_funding_ns=next_multiple(ts_ns, self.config.funding.interval_ns),
        )
