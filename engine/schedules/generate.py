"""Schedules made from formulas, as tiers that never ask for less than the formula does.

A formula gives the maintenance rate of a whole position by its notional N. Two tier rules can
follow it:

- `marginal`: the margin is a chain of straight lines, each touching the formula's margin at
  the edges of its tier. The margin of a rate that grows with size is convex, so a chord lies
  above it: never too little in between. A tier's own (marginal) rate is that of the chord and
  higher than the rate of the whole position.
- `whole`: each tier has the formula's rate at its upper edge; the margin jumps at every edge.

Edges are chosen so that ``margin / N`` exceeds the formula's rate by no more than the maximum
error, anywhere up to the cap, each tier as wide as that allows. The cap is the last tier's
`max_notional`, because beyond it the last tier would ask for less than the formula.

Initial margin is ``N / leverage`` of the whole position under either rule: a tier's
`max_leverage` comes from the formula's initial rate at its upper edge, and from its own
maintenance rate where that is higher, rounded down to 0.01.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import isqrt
from typing import Any, Protocol

from engine.errors import InputError
from engine.instruments import TIERS_MAX
from engine.messages import RATE_SCALE
from engine.schedules.rows import (
    Place,
    Row,
    check_rows,
    exact_text,
    make_row,
    read_decimal,
    read_tiers,
)
from engine.units import DecimalLike

# Roots are bounded by multiples of this; far finer than the margin kept for rates.
_ROOT_SCALE = 10**16
# What rounding rates up to 1e-8 can add to the error, in a chain of chords: a rate's own
# rounding, that of the edge before, and a rate held at the one before it.
_ROUNDING = Fraction(4, RATE_SCALE)
_LEVERAGE_SCALE = 100


class _Curve(Protocol):
    def rate(self, notional: Fraction) -> Fraction:
        """Maintenance rate of a whole position; never below the formula's."""

    def rate_down(self, notional: Fraction) -> Fraction:
        """The same, never above the formula's."""

    def initial_rate(self, notional: Fraction) -> Fraction:
        """Initial rate of a whole position; never below the formula's."""

    def chord_excess(self, low: Fraction, high: Fraction) -> Fraction:
        """Most by which margin / N of the chord exceeds the rate; never too little."""


class _Linear:
    def __init__(
        self, base: Fraction, slope: Fraction, initial: Fraction, initial_slope: Fraction
    ) -> None:
        self._base, self._slope = base, slope
        self._initial, self._initial_slope = initial, initial_slope

    def rate(self, notional: Fraction) -> Fraction:
        return self._base + self._slope * notional

    rate_down = rate

    def initial_rate(self, notional: Fraction) -> Fraction:
        return self._initial + self._initial_slope * notional

    def chord_excess(self, low: Fraction, high: Fraction) -> Fraction:
        # slope (N - low) (high - N) / N is largest at N = sqrt(low high).
        return self._slope * (low + high - 2 * _root_down(low * high))


class _SquareRoot:
    def __init__(self, initial: Fraction, base_notional: Fraction, fraction: Fraction) -> None:
        self._initial, self._base_notional = initial, base_notional
        self._maintenance = initial * fraction

    def _stretch(self, notional: Fraction) -> Fraction:
        return max(Fraction(1), _root_up(notional / self._base_notional))

    def rate(self, notional: Fraction) -> Fraction:
        return self._maintenance * self._stretch(notional)

    def rate_down(self, notional: Fraction) -> Fraction:
        return self._maintenance * max(Fraction(1), _root_down(notional / self._base_notional))

    def initial_rate(self, notional: Fraction) -> Fraction:
        return self._initial * self._stretch(notional)

    def chord_excess(self, low: Fraction, high: Fraction) -> Fraction:
        if low == 0:  # a straight line from the origin: the rate at its end, over the flat part
            return self.rate(high) - self._maintenance
        # With u = sqrt(N / base) from p to q, the chord's margin / N over the rate is
        # s - k / u^2 - u, where s = (p^2 + pq + q^2) / (p + q) and k = p^2 q^2 / (p + q). It is
        # largest at u^3 = 2 k. (`low` is beyond the flat part: the first tier covers that.)
        p, q = self._stretch(low), self._stretch(high)
        top = (p * p + p * q + q * q) / (p + q)
        turn = _cube_root_down(2 * p * p * q * q / (p + q))
        return self._maintenance * (top - Fraction(3, 2) * turn + Fraction(1, 10**12))


def _root_down(value: Fraction) -> Fraction:
    return Fraction(isqrt(value.numerator * _ROOT_SCALE**2 // value.denominator), _ROOT_SCALE)


def _root_up(value: Fraction) -> Fraction:
    scaled = -(-value.numerator * _ROOT_SCALE**2 // value.denominator)
    return Fraction(isqrt(scaled - 1) + 1 if scaled else 0, _ROOT_SCALE)


def _cube_root_down(value: Fraction) -> Fraction:
    scaled = value.numerator * _ROOT_SCALE**3 // value.denominator
    root = 1 << -(-scaled.bit_length() // 3)  # above the root; Newton's steps come down to it
    while True:
        closer = (2 * root + scaled // root**2) // 3
        if closer >= root:
            return Fraction(root, _ROOT_SCALE)
        root = closer


def linear_schedule(
    *,
    base: DecimalLike,
    slope: DecimalLike,
    initial_base: DecimalLike,
    initial_slope: DecimalLike | None = None,
    unit_notional: DecimalLike = 1,
    cap: DecimalLike,
    max_error: DecimalLike,
    tier_rule: str = "marginal",
    notional_step: DecimalLike = 1,
) -> list[Row]:
    """Return tiers for a maintenance rate that grows linearly with the position.

    ``rate(N) = base + slope x N / unit_notional`` and ``initial(N) = initial_base +
    initial_slope x N / unit_notional``, of the whole position. Deribit, standard margin of a
    linear perpetual (support.deribit.com, "Linear Perpetual"): BTC_USDC asks for 1 % + 0.005 %
    for each BTC, initially 2 % + 0.005 %; with ``unit_notional`` the value of one BTC that is
    ``base="0.01", slope="0.00005", initial_base="0.02"``, at that price.

    Parameters
    ----------
    base, slope : decimal
        Maintenance.
    initial_base, initial_slope : decimal
        Initial; the slope by default as for maintenance.
    unit_notional : decimal, settle asset
        Over which the rate grows by `slope`.
    cap : decimal, settle asset
        Largest notional; a multiple of `notional_step`.
    max_error : decimal
        Most by which margin / N may exceed the formula's rate, 0.000001 or more.
    tier_rule : str
        `marginal` or `whole`: the instrument's.
    notional_step : decimal
        Edges are multiples of it.

    Returns
    -------
    list of tier rows

    Rounding
        Rates up to 1e-8, leverages down to 0.01.
    Complexity
        About ``sqrt(slope x cap / max_error)`` tiers (`marginal`), ``slope x cap / max_error``
        (`whole`).

    Raises
    ------
    InputError
        An argument that cannot be, more than 64 tiers, or a rate above 1.

    Examples
    --------
    >>> rows = linear_schedule(
    ...     base="0.01", slope="0.00005", initial_base="0.02", unit_notional=100000,
    ...     cap=35_000_000, max_error="0.001")
    >>> len(rows), rows[0]["max_notional"], rows[-1]["maintenance_margin_rate"]
    (5, '1999920', '0.04349936')
    """
    unit = _positive(unit_notional, "unit_notional")
    steep = _not_negative(slope, "slope") / unit
    initial_steep = steep
    if initial_slope is not None:
        initial_steep = _not_negative(initial_slope, "initial_slope") / unit
    curve = _Linear(
        _not_negative(base, "base"), steep, _positive(initial_base, "initial_base"), initial_steep)
    return _discretise(curve, cap, max_error, tier_rule, notional_step)


def square_root_schedule(
    *,
    initial: DecimalLike,
    base_notional: DecimalLike,
    maintenance_fraction: DecimalLike,
    cap: DecimalLike,
    max_error: DecimalLike,
    tier_rule: str = "marginal",
    notional_step: DecimalLike = 1,
) -> list[Row]:
    """Return tiers for an initial rate that grows with the square root of the position.

    ``initial(N) = initial x max(1, sqrt(N / base_notional))`` of the whole position, and
    ``rate(N) = maintenance_fraction x initial(N)``. dYdX v4 had this form in its liquidity tiers
    (`initial_margin_ppm`, `maintenance_fraction_ppm`, and `base_position_notional`, above which
    "margin requirements increase at a rate of sqrt(size)"; since deprecated). FTX wrote it
    ``max(base IMF, IMF factor x sqrt(size))`` with the size in coins, which is
    ``base_notional = price x (base IMF / IMF factor)^2``; Drift's margin ratios grow alike.

    Parameters
    ----------
    initial : decimal
        Initial rate up to `base_notional`.
    base_notional : decimal, settle asset
    maintenance_fraction : decimal
        In (0, 1]. Under `marginal` a tier's own rate comes close to 1.5 times the rate of the
        position; above 2/3 it is therefore what bounds `max_leverage`.
    cap, max_error, tier_rule, notional_step
        As for `linear_schedule`.

    Returns
    -------
    list of tier rows

    Rounding
        Rates up to 1e-8, leverages down to 0.01.

    Raises
    ------
    InputError
        An argument that cannot be, more than 64 tiers, or a rate above 1.

    Examples
    --------
    >>> rows = square_root_schedule(
    ...     initial="0.05", base_notional=1_000_000, maintenance_fraction="0.6",
    ...     cap=100_000_000, max_error="0.005")
    >>> [row["max_leverage"] for row in rows]
    ['17.14', '9.98', '6.53', '4.6', '3.42', '2.64', '2.1', '2']
    """
    fraction = _positive(maintenance_fraction, "maintenance_fraction")
    if fraction > 1:
        raise InputError("maintenance_fraction: must be above 0 and at most 1")
    curve = _SquareRoot(
        _positive(initial, "initial"), _positive(base_notional, "base_notional"), fraction)
    return _discretise(curve, cap, max_error, tier_rule, notional_step)


def scale_schedule(
    rows: Sequence[Mapping[str, Any]], multiplier: DecimalLike, *, max_rate: DecimalLike = 1
) -> list[Row]:
    """Return a schedule with a user's multiplier on its rates.

    Each maintenance rate is multiplied, up to `max_rate`; each maximum leverage is divided, not
    below 1, and lowered further where the rate would exceed 1 / leverage. A multiplier below 1
    lowers the rates and leaves the leverages: nobody gets more than the table allows. Edges stay.

    Parameters
    ----------
    rows : sequence of tier rows
    multiplier : decimal
        Above 0.
    max_rate : decimal
        In (0, 1].

    Returns
    -------
    list of tier rows

    Rounding
        Rates up to 1e-8, leverages down to 1e-8.

    Raises
    ------
    InputError
        An argument out of its range, or rows that the engine would refuse.

    Examples
    --------
    >>> rows = [{"min_notional": "0", "max_notional": None,
    ...          "maintenance_margin_rate": "0.004", "max_leverage": "100"}]
    >>> scale_schedule(rows, "1.5")[0]["max_leverage"]
    '66.66666666'
    """
    factor = _positive(multiplier, "multiplier")
    most = _positive(max_rate, "max_rate")
    if most > 1:
        raise InputError("max_rate: must be above 0 and at most 1")
    here = Place("scale_schedule")
    given = read_tiers(list(rows), here, [])
    check_rows(here, given)
    scaled: list[Row] = []
    for row in given:
        rate = _up(Fraction(row["maintenance_margin_rate"] or 0) * factor, RATE_SCALE)
        rate = min(rate, _down(most, RATE_SCALE))
        leverage = Fraction(row["max_leverage"] or 0)
        leverage = max(Fraction(1), min(leverage, _down(leverage / factor, RATE_SCALE)))
        if rate > 0:
            leverage = min(leverage, _down(1 / rate, RATE_SCALE))
        scaled.append({
            **row, "maintenance_margin_rate": exact_text(rate),
            "max_leverage": exact_text(leverage)})
    return scaled


def _discretise(
    curve: _Curve, cap: DecimalLike, max_error: DecimalLike, tier_rule: str, step: DecimalLike
) -> list[Row]:
    if tier_rule not in ("marginal", "whole"):
        raise InputError(f"tier_rule: expected marginal or whole, not {tier_rule!r}")
    unit = _positive(step, "notional_step")
    steps = _positive(cap, "cap") / unit
    if steps.denominator != 1:
        raise InputError("cap: not a multiple of notional_step")
    error = _positive(max_error, "max_error")
    if error < Fraction(1, 10**6):
        raise InputError("max_error: must be 0.000001 or more")
    edges = _edges(curve, int(steps), unit, error, tier_rule == "marginal")
    rows = []
    rate, margin = Fraction(0), Fraction(0)
    leverage = None
    low = Fraction(0)
    for number, high in enumerate(edges, start=1):
        if tier_rule == "marginal":
            # The chord starts from the margin that the tiers before came to, which rounding
            # has left a little above the formula's.
            chord = (high * curve.rate(high) - margin) / (high - low)
            rate = max(rate, _up(chord, RATE_SCALE))
            margin += rate * (high - low)
        else:
            rate = _up(curve.rate(high), RATE_SCALE)
        allowed = _down(1 / max(rate, curve.initial_rate(high)), _LEVERAGE_SCALE)
        if allowed < 1:
            raise InputError(
                f"cap: tier {number}, to a notional of {high}, would need a rate above 1")
        leverage = allowed if leverage is None else min(leverage, allowed)
        rows.append(make_row(low, high, rate, leverage))
        low = high
    check_rows(Place("schedule"), rows)
    return rows


def _edges(
    curve: _Curve, steps: int, unit: Fraction, error: Fraction, is_marginal: bool
) -> list[Fraction]:
    def fits(low: int, high: int) -> bool:
        if is_marginal:
            return curve.chord_excess(low * unit, high * unit) <= error - _ROUNDING
        return _up(curve.rate(high * unit), RATE_SCALE) - curve.rate_down(low * unit) <= error

    edges = [0]
    while edges[-1] < steps:
        if len(edges) > TIERS_MAX:
            raise InputError(
                f"max_error: more than {TIERS_MAX} tiers; allow a larger error or lower the cap")
        low = edges[-1]
        if not fits(low, low + 1):
            raise InputError("max_error: one notional_step is more than it allows")
        reach, beyond = low + 1, steps + 1  # the last that fits, and one that does not
        while beyond - reach > 1:
            middle = (reach + beyond) // 2
            if fits(low, middle):
                reach = middle
            else:
                beyond = middle
        edges.append(reach)
    return [edge * unit for edge in edges[1:]]


def _up(value: Fraction, scale: int) -> Fraction:
    return Fraction(-(-value * scale // 1), scale)


def _down(value: Fraction, scale: int) -> Fraction:
    return Fraction(value * scale // 1, scale)


def _positive(value: DecimalLike, name: str) -> Fraction:
    number = read_decimal(value, name)
    if number <= 0:
        raise InputError(f"{name}: must be above zero")
    return number


def _not_negative(value: DecimalLike, name: str) -> Fraction:
    number = read_decimal(value, name)
    if number < 0:
        raise InputError(f"{name}: must not be negative")
    return number
