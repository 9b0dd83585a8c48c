"""What a symbol's prices are made by: plain data, checked once, no behaviour.

Every choice between formulas is a field here, so a venue is a set of values
(`engine.pricing.presets`) and never a branch in the code.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from engine.errors import InputError
from engine.pricing.scale import DAY_NS, HOUR_NS, SECOND_NS, PriceScale, exact, rate_units
from engine.units import DecimalLike

Component = Literal["index", "funding_basis", "basis_average", "basis_ema", "last", "book_median"]

COMPONENTS: tuple[Component, ...] = (
    "index", "funding_basis", "basis_average", "basis_ema", "last", "book_median")


def _choose(owner: object, name: str, choices: Collection[str]) -> None:
    value = getattr(owner, name)
    if value not in choices:
        raise InputError(f"{name} is one of {', '.join(choices)}, not {value!r}")


def _positive(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise InputError(f"{name} is a positive whole number, not {value!r}")


def _rates(owner: object, *names: str, signed: bool = False) -> None:
    for name in names:
        value = getattr(owner, name)
        if value is not None and rate_units(value, name) < 0 and not signed:
            raise InputError(f"{name} is not negative, but {value}")


def _amounts(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if value is not None and exact(value, name) <= 0:
            raise InputError(f"{name} is positive, not {value}")


@dataclass(frozen=True)
class Source:
    """One source of an index.

    Attributes
    ----------
    name : str
    weight : str, int or Decimal, default 1
        Positive; relative to the other sources.
    max_age_ns : int, default 10 s
        A price older than this is stale. Exactly this old is still good.
    """

    name: str
    weight: DecimalLike = 1
    max_age_ns: int = 10 * SECOND_NS

    def __post_init__(self) -> None:
        _amounts(self, "weight")
        _positive(self, "max_age_ns")


@dataclass(frozen=True)
class IndexRules:
    """How source prices become an index.

    Attributes
    ----------
    min_sources : int, default 1
        With fewer good sources the index holds its last price, flagged.
    combine : {"mean", "median"}
        Weighted mean or weighted median of the sources used.
    outlier_bound : decimal or None, default 0.05
        Deviation from the plain median of the fresh sources, as a fraction of it, beyond
        which a source is an outlier. Exactly at the bound is none. None: no rule.
    outlier_rule : {"drop", "clamp"}
        Leave an outlier out, or move it to the bound.
    many_outliers : {"each", "median"}
        With two outliers or more: the rule to each, or the median as the index.
    """

    min_sources: int = 1
    combine: Literal["mean", "median"] = "mean"
    outlier_bound: DecimalLike | None = "0.05"
    outlier_rule: Literal["drop", "clamp"] = "drop"
    many_outliers: Literal["each", "median"] = "each"

    def __post_init__(self) -> None:
        _positive(self, "min_sources")
        _choose(self, "combine", ("mean", "median"))
        _choose(self, "outlier_rule", ("drop", "clamp"))
        _choose(self, "many_outliers", ("each", "median"))
        _rates(self, "outlier_bound")


@dataclass(frozen=True)
class MarkRules:
    """How the mark is made: the median of components, kept in a band, rounded to the tick.

    Attributes
    ----------
    components : tuple of str
        Of `COMPONENTS`. A component without a value yet is left out of the median.
    interval_ns : int, default 1 s
        Marks are made at whole multiples of it.
    basis_rate : {"settled", "predicted"}
        The rate in `funding_basis`: the last one settled, or the prediction.
    basis_price : {"mid", "impact_mid"}
        Price of the own book in the basis.
    basis_sample_ns, basis_window_ns : int, default 5 s, 150 s
        Clock and length of `basis_average`; the clock of `basis_ema` too.
    ema_decay_ns : int, default 150 s
        Time after which a sample of `basis_ema` counts 1/e.
    band : decimal or None
        Greatest distance from the index, as a fraction of it. None: no band.
    hold_ns : int, default 0
        How long marks go on with a held index, from the last good reading.
    on_held : {"silent", "halt"}
        After that: no marks; with "halt" also `halt` with `no_liquidation`, and `resume`
        once the index is good again.
    """

    components: tuple[Component, ...] = ("funding_basis", "basis_average", "last")
    interval_ns: int = SECOND_NS
    basis_rate: Literal["settled", "predicted"] = "settled"
    basis_price: Literal["mid", "impact_mid"] = "mid"
    basis_sample_ns: int = 5 * SECOND_NS
    basis_window_ns: int = 150 * SECOND_NS
    ema_decay_ns: int = 150 * SECOND_NS
    band: DecimalLike | None = None
    hold_ns: int = 0
    on_held: Literal["silent", "halt"] = "silent"

    def __post_init__(self) -> None:
        if not self.components or len(set(self.components)) != len(self.components):
            raise InputError("components is a list of different names, at least one")
        for name in self.components:
            if name not in COMPONENTS:
                raise InputError(f"a component is one of {', '.join(COMPONENTS)}, not {name!r}")
        _choose(self, "basis_rate", ("settled", "predicted"))
        _choose(self, "basis_price", ("mid", "impact_mid"))
        _choose(self, "on_held", ("silent", "halt"))
        _positive(self, "interval_ns", "basis_sample_ns", "basis_window_ns", "ema_decay_ns")
        if self.hold_ns != 0:
            _positive(self, "hold_ns")
        _rates(self, "band")


@dataclass(frozen=True)
class PremiumRules:
    """How the own book becomes a premium, and premiums an average.

    Attributes
    ----------
    impact_margin : decimal or None
        The impact notional is this margin ÷ the symbol's `initial_rate`. None: the symbol
        says its `impact_notional`.
    sample_ns : int, default 5 s
        Clock of the samples; divides the funding interval.
    weighting : {"linear", "equal"}
        Weight of the n-th sample instant of an interval: n, or 1.
    thin_side : {"zero", "skip"}
        A side of the book too thin for the impact notional: it counts as zero, or there is
        no sample. Flagged either way.
    missing : {"skip", "zero"}
        An instant without a sample: not in the average, or a premium of zero.
    bound : decimal or None
        Greatest absolute premium of one sample.
    """

    impact_margin: DecimalLike | None = None
    sample_ns: int = 5 * SECOND_NS
    weighting: Literal["linear", "equal"] = "linear"
    thin_side: Literal["zero", "skip"] = "zero"
    missing: Literal["skip", "zero"] = "skip"
    bound: DecimalLike | None = None

    def __post_init__(self) -> None:
        _amounts(self, "impact_margin")
        _positive(self, "sample_ns")
        _choose(self, "weighting", ("linear", "equal"))
        _choose(self, "thin_side", ("zero", "skip"))
        _choose(self, "missing", ("skip", "zero"))
        _rates(self, "bound")


@dataclass(frozen=True)
class FundingRules:
    """How the average premium becomes the rate that is settled.

    Attributes
    ----------
    interval_ns : int, default 8 h
        Settlements are at its multiples, counted from 00:00 UTC; divides a day.
    formula : {"damped", "sum"}
        premium + clamp(interest − premium, ±damper), or premium + interest.
    period_ns : int, default 8 h
        The formula's rate is for this time; paid is its part for `interval_ns`.
    interest_rate : decimal, default 0.0001
        For `period_ns`.
    damper : decimal, default 0.0005
    cap, floor : decimal or None
        Bounds of the rate paid in an interval.
    cap_factor : decimal or None
        Bounds of ± this × `cap_base` of the symbol. Not together with `cap` or `floor`.
    cap_base : {"maintenance", "initial_less_maintenance"}
        The symbol's maintenance rate, or its initial rate less that.
    change_factor : decimal or None
        The rate moves by at most this × the maintenance rate from one to the next.
    settle_on : {"mark", "index"}
        The price that the rate is meant for. The engine settles at the mark, so with
        "index" the rate is scaled by index ÷ mark.
    """

    interval_ns: int = 8 * HOUR_NS
    formula: Literal["damped", "sum"] = "damped"
    period_ns: int = 8 * HOUR_NS
    interest_rate: DecimalLike = "0.0001"
    damper: DecimalLike = "0.0005"
    cap: DecimalLike | None = None
    floor: DecimalLike | None = None
    cap_factor: DecimalLike | None = None
    cap_base: Literal["maintenance", "initial_less_maintenance"] = "maintenance"
    change_factor: DecimalLike | None = None
    settle_on: Literal["mark", "index"] = "mark"

    def __post_init__(self) -> None:
        _positive(self, "interval_ns", "period_ns")
        if DAY_NS % self.interval_ns:
            raise InputError(f"interval_ns divides a day: not {self.interval_ns}")
        _choose(self, "formula", ("damped", "sum"))
        _choose(self, "cap_base", ("maintenance", "initial_less_maintenance"))
        _choose(self, "settle_on", ("mark", "index"))
        _rates(self, "interest_rate", "cap", "floor", signed=True)
        _rates(self, "damper")
        _amounts(self, "cap_factor", "change_factor")
        if self.cap_factor is not None and (self.cap, self.floor) != (None, None):
            raise InputError("cap_factor does not go together with cap or floor")
        if self.cap is not None and self.floor is not None:
            if rate_units(self.floor, "floor") > rate_units(self.cap, "cap"):
                raise InputError(f"floor {self.floor} is above cap {self.cap}")


@dataclass(frozen=True)
class SymbolConfig:
    """Everything about one symbol that its prices depend on.

    Attributes
    ----------
    symbol : str
    mark_tick : decimal
        As in the symbol's instrument.
    sources : tuple of Source
        Of the index; the order makes no difference.
    contract_size : decimal, default 1
    kind : {"linear", "inverse"}
        What a quantity is worth: quantity × contract size × price in quote, or quantity ×
        contract size in quote.
    impact_notional : decimal or None
        In quote. None: from `PremiumRules.impact_margin` and `initial_rate`.
    initial_rate, maintenance_rate : decimal or None
        Margin rates of the lowest tier, as fractions, where the rules ask for them.
    book_max_age_ns : int or None, default 60 s
        A snapshot of the own book older than this gives no samples. None: never stale.
    index, mark, premium, funding
        The rules.

    Raises
    ------
    InputError
        A value that is not allowed, or one that the rules ask for is missing.
    """

    symbol: str
    mark_tick: DecimalLike
    sources: tuple[Source, ...]
    contract_size: DecimalLike = "1"
    kind: Literal["linear", "inverse"] = "linear"
    impact_notional: DecimalLike | None = None
    initial_rate: DecimalLike | None = None
    maintenance_rate: DecimalLike | None = None
    book_max_age_ns: int | None = 60 * SECOND_NS
    index: IndexRules = field(default_factory=IndexRules)
    mark: MarkRules = field(default_factory=MarkRules)
    premium: PremiumRules = field(default_factory=PremiumRules)
    funding: FundingRules = field(default_factory=FundingRules)

    def __post_init__(self) -> None:
        PriceScale(self.mark_tick)
        names = {source.name for source in self.sources}
        if len(names) != len(self.sources):
            raise InputError(f"{self.symbol}: two sources of the same name")
        if len(names) < self.index.min_sources:
            raise InputError(
                f"{self.symbol}: {self.index.min_sources} sources needed, {len(names)} given")
        _choose(self, "kind", ("linear", "inverse"))
        _amounts(self, "contract_size", "impact_notional", "initial_rate", "maintenance_rate")
        if self.book_max_age_ns is not None:
            _positive(self, "book_max_age_ns")
        if self.funding.interval_ns % self.premium.sample_ns:
            raise InputError(f"{self.symbol}: premium.sample_ns does not divide the interval")
        for name in self._needed():
            if getattr(self, name) is None:
                raise InputError(f"{self.symbol}: {name} is missing, and its rules ask for it")

    def _needed(self) -> list[str]:
        needed = []
        if self.impact_notional is None:
            by_margin = self.premium.impact_margin is not None
            needed.append("initial_rate" if by_margin else "impact_notional")
        funding = self.funding
        if funding.cap_factor is not None:
            needed.append("maintenance_rate")
            if funding.cap_base == "initial_less_maintenance":
                needed.append("initial_rate")
        if funding.change_factor is not None:
            needed.append("maintenance_rate")
        return needed
