"""Margin multipliers from the market: of volatility, and of open interest.

`MarginMultipliers` watches one symbol's marks and open interest and returns
`margin_multiplier` commands. It has no clock: the same inputs give the same commands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

from engine.errors import InputError
from engine.messages import RATE_SCALE
from engine.pricing.scale import DAY_NS, HOUR_NS, SECOND_NS, PriceScale, ceil_fraction, exact
from engine.pricing.state import Stateful
from engine.pricing.volatility import VarianceEma, volatility_ratio
from engine.units import RATE, DecimalLike

Command = dict[str, Any]

#: What the engine takes at most.
MULTIPLIER_MAX = 100 * RATE_SCALE


def _multiplier(value: DecimalLike, what: str, lowest: int = 1) -> int:
    units = exact(value, what) * RATE_SCALE
    if units.denominator != 1 or not lowest <= units <= MULTIPLIER_MAX:
        raise InputError(
            f"{what} is a multiplier of {RATE.text(lowest)} to 100, in steps of 1e-8, not {value}")
    return int(units)


def _positive(what: str, value: int, *, or_zero: bool = False) -> None:
    lowest = 0 if or_zero else 1
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise InputError(f"{what} is a whole number from {lowest}, not {value!r}")


@dataclass(frozen=True)
class Patience:
    """How long a multiplier stays up after its reason has gone.

    Attributes
    ----------
    margin : decimal, default 0.1
        It comes down only to where it would stay if what drives it were larger by this share.
    hold_ns : int, default 1 h
        And only after it could have been there all this time.
    """

    margin: DecimalLike = "0.1"
    hold_ns: int = HOUR_NS

    def __post_init__(self) -> None:
        if exact(self.margin, "margin") < 0:
            raise InputError(f"margin is not negative, but {self.margin}")
        _positive("hold_ns", self.hold_ns, or_zero=True)


@dataclass(frozen=True)
class VolatilityRules:
    """How volatility becomes a maintenance multiplier.

    Attributes
    ----------
    reference : decimal
        Volatility over `period_ns` at which the multiplier is 1: 0.04 is 4 % a day.
    period_ns : int, default 1 day
    half_life_ns : int, default 1 h
        After this long a return counts half.
    floor, cap, step : decimal, default 1, 4, 0.25
        Multipliers are floor, floor + step, ... and cap: rounded up to these.
    warm_up : int, default 30
        Intervals to be seen before anything is commanded.
    patience : Patience
    """

    reference: DecimalLike
    period_ns: int = DAY_NS
    half_life_ns: int = HOUR_NS
    floor: DecimalLike = "1"
    cap: DecimalLike = "4"
    step: DecimalLike = "0.25"
    warm_up: int = 30
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        if exact(self.reference, "reference") <= 0:
            raise InputError(f"reference is positive, not {self.reference}")
        for name in ("period_ns", "half_life_ns", "warm_up"):
            _positive(name, getattr(self, name))
        _multiplier(self.step, "step")
        if _multiplier(self.floor, "floor") > _multiplier(self.cap, "cap"):
            raise InputError("floor is above cap")


@dataclass(frozen=True)
class OpenInterestRules:
    """How open interest becomes an initial multiplier; for linear contracts.

    Attributes
    ----------
    bands : tuple of (notional or None, multiplier)
        Multiplier, 1 at least, of an open interest of up to so much in quote; both ascend,
        and the last notional is None.
    contract_size : decimal, default 1
        As in the symbol's instrument.
    patience : Patience
    """

    bands: tuple[tuple[DecimalLike | None, DecimalLike], ...]
    contract_size: DecimalLike = "1"
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        if exact(self.contract_size, "contract_size") <= 0:
            raise InputError(f"contract_size is positive, not {self.contract_size}")
        if not self.bands or self.bands[-1][0] is not None:
            raise InputError("the last band's notional is None")
        notionals = [Fraction(0)]
        multipliers = [RATE_SCALE]
        for notional, multiplier in self.bands:
            multipliers.append(_multiplier(multiplier, "multiplier", RATE_SCALE))
            if notional is not None:
                notionals.append(exact(notional, "notional"))
        if len(notionals) != len(self.bands) or any(
                low >= high for low, high in pairwise(notionals)):
            raise InputError("the notionals of bands ascend")
        if multipliers != sorted(multipliers):
            raise InputError("the multipliers of bands ascend")


class Ladder(Stateful):
    """A multiplier that goes up at once and comes down with patience.

    Parameters
    ----------
    rung_of : callable
        The multiplier, 1e-8, that a reading asks for; it must not fall as the reading grows.
    patience : Patience
    lowest : int, 1e-8
        Where it begins.
    """

    STATE = ("rung", "_low_since", "_low_peak")

    def __init__(
        self, rung_of: Callable[[Fraction], int], patience: Patience, lowest: int
    ) -> None:
        self._rung_of = rung_of
        self._more = 1 + exact(patience.margin, "margin")
        self._hold_ns = patience.hold_ns
        self.rung = lowest
        self._low_since: int | None = None
        self._low_peak = lowest  # highest rung asked for since then, margin included

    def climb(self, ts_ns: int, reading: Fraction) -> int:
        """Take a reading and return the multiplier."""
        asked = self._rung_of(reading)
        if asked > self.rung:
            self.rung, self._low_since = asked, None
            return asked
        safe = self._rung_of(reading * self._more)
        if safe >= self.rung:
            self._low_since = None
            return self.rung
        if self._low_since is None:
            self._low_since, self._low_peak = ts_ns, safe
        self._low_peak = max(self._low_peak, safe)
        if ts_ns - self._low_since >= self._hold_ns:
            self.rung, self._low_since = self._low_peak, None
        return self.rung


def volatility_rung(rules: VolatilityRules) -> Callable[[Fraction], int]:
    """Return the function from a volatility ratio to the multiplier, rounded up to its grid."""
    floor, cap, step = (
        _multiplier(value, "multiplier") for value in (rules.floor, rules.cap, rules.step))

    def rung(ratio: Fraction) -> int:
        above = max(Fraction(0), ratio * RATE_SCALE - floor)
        return min(cap, floor + ceil_fraction(Fraction(above, step)) * step)

    return rung


def open_interest_rung(rules: OpenInterestRules) -> Callable[[Fraction], int]:
    """Return the function from an open interest in quote to the multiplier of its band."""
    bands = [(None if notional is None else exact(notional, "notional"),
              _multiplier(multiplier, "multiplier", RATE_SCALE))
             for notional, multiplier in rules.bands]

    def rung(notional: Fraction) -> int:
        return next(multiplier for most, multiplier in bands if most is None or notional <= most)

    return rung


class MarginMultipliers(Stateful):
    """Makes `margin_multiplier` commands for one symbol from its marks and open interest.

    Parameters
    ----------
    symbol : str
    mark_tick : decimal
        As in the symbol's instrument.
    volatility : VolatilityRules, optional
        Without, the maintenance multiplier is 1.
    open_interest : OpenInterestRules, optional
        Without, the initial multiplier is 1.
    interval_ns : int, default 1 min
        Instants are whole multiples of it. Only an instant with a mark since the one before
        counts: while the feed is silent nothing is raised, and nothing lowered.
    notice_ns : int, default 10 min
        What raises a multiplier is announced so long before; 0: at once.

    Raises
    ------
    InputError
        Rules that make no sense.

    Notes
    -----
    An input at T first works off the instants before T, `advance` also that of T. While a
    step is announced nothing else is commanded, so notice is kept and no raise is put off by
    the next one. The multipliers must fit the symbol's tiers, or the engine refuses them.

    Complexity: O(1) an input.

    Examples
    --------
    >>> bands = (("1000000", "1"), (None, "1.5"))
    >>> margin = MarginMultipliers("BTC", "0.1", open_interest=OpenInterestRules(bands))
    >>> margin.mark(0, "60000"), margin.open_interest(0, "20")
    ([], [])
    >>> margin.advance(0)[0]["initial"], margin.advance(0)
    ('1.5', [])
    """

    STATE = (
        "_variance", "_maintenance", "_initial", "_told_ns", "_done_ns", "_mark", "_is_fresh",
        "_open_interest", "_in_force", "_announced")

    def __init__(
        self, symbol: str, mark_tick: DecimalLike, volatility: VolatilityRules | None = None,
        open_interest: OpenInterestRules | None = None, interval_ns: int = 60 * SECOND_NS,
        notice_ns: int = 600 * SECOND_NS,
    ) -> None:
        _positive("interval_ns", interval_ns)
        _positive("notice_ns", notice_ns, or_zero=True)
        self.symbol = symbol
        self._scale = PriceScale(mark_tick)
        self._interval_ns, self._notice_ns = interval_ns, notice_ns
        self._volatility, self._crowding = volatility, open_interest
        self._maintenance = self._initial = None
        if volatility is not None:
            self._variance = VarianceEma(interval_ns, volatility.half_life_ns)
            self._reference = exact(volatility.reference, "reference") ** 2 * Fraction(
                interval_ns, volatility.period_ns)
            self._maintenance = Ladder(
                volatility_rung(volatility), volatility.patience,
                volatility_rung(volatility)(Fraction(1)))
        if open_interest is not None:
            self._initial = Ladder(
                open_interest_rung(open_interest), open_interest.patience, RATE_SCALE)
        self._told_ns: int | None = None
        self._done_ns = 0  # instants up to here are worked off
        self._mark: int | None = None  # subticks
        self._is_fresh = False  # a mark came since the last instant
        self._open_interest = Fraction(0)  # quantity
        self._in_force = (RATE_SCALE, RATE_SCALE)
        self._announced: tuple[int, tuple[int, int]] | None = None

    def mark(self, ts_ns: int, price: DecimalLike) -> list[Command]:
        """Take a mark; return the command of the instant that it closes, if there is one."""
        read = self._scale.read(price, f"mark of {self.symbol}")
        commands = self._run(ts_ns, ts_ns - 1)
        self._mark, self._is_fresh = read, True
        return commands

    def open_interest(self, ts_ns: int, quantity: DecimalLike) -> list[Command]:
        """Take the open interest, in the instrument's quantity; return as `mark` does."""
        read = exact(quantity, f"open interest of {self.symbol}")
        if read < 0:
            raise InputError(f"open interest of {self.symbol} is negative: {quantity}")
        commands = self._run(ts_ns, ts_ns - 1)
        self._open_interest = read
        return commands

    def advance(self, ts_ns: int) -> list[Command]:
        """Say that everything up to and including `ts_ns` has been told."""
        return self._run(ts_ns, ts_ns)

    # Only the first instant after news can say anything: those behind it have no new mark.
    def _run(self, ts_ns: int, until_ns: int) -> list[Command]:
        if self._told_ns is None:
            self._told_ns, self._done_ns = ts_ns, ts_ns - 1
        if ts_ns < self._told_ns:
            raise InputError(f"time goes back: {ts_ns} after {self._told_ns}")
        self._told_ns = ts_ns
        at_ns = (self._done_ns // self._interval_ns + 1) * self._interval_ns
        self._done_ns = max(self._done_ns, until_ns)
        if at_ns > until_ns or not self._is_fresh:
            return []
        self._is_fresh = False
        return self._step(at_ns)

    def _step(self, ts_ns: int) -> list[Command]:
        wanted = self._wanted(ts_ns)
        if self._announced is not None:
            if ts_ns < self._announced[0]:
                return []
            self._in_force, self._announced = self._announced[1], None
        if wanted == self._in_force:
            return []
        command: Command = {
            "cmd": "margin_multiplier", "ts": ts_ns, "symbol": self.symbol,
            "maintenance": RATE.text(wanted[0]), "initial": RATE.text(wanted[1])}
        is_raise = any(
            new > old for new, old in zip(wanted, self._in_force, strict=True))
        if is_raise and self._notice_ns:
            command["effective_ts"] = ts_ns + self._notice_ns
            self._announced = ts_ns + self._notice_ns, wanted
        else:
            self._in_force = wanted
        return [command]

    # The multipliers of an instant, as if there were no notice to give.
    def _wanted(self, ts_ns: int) -> tuple[int, int]:
        maintenance, initial = RATE_SCALE, RATE_SCALE
        assert self._mark is not None
        if self._maintenance is not None and self._volatility is not None:
            self._variance.add(ts_ns, self._mark)
            variance = self._variance.variance()
            maintenance = self._in_force[0]
            if variance is not None and self._variance.count >= self._volatility.warm_up:
                ratio = volatility_ratio(variance, self._reference)
                maintenance = self._maintenance.climb(ts_ns, Fraction(ratio, RATE_SCALE))
        if self._initial is not None and self._crowding is not None:
            size = exact(self._crowding.contract_size, "contract_size")
            notional = self._open_interest * self._mark * self._scale.subtick * size
            initial = self._initial.climb(ts_ns, notional)
        return maintenance, initial
