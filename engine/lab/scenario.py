"""`Scenario`: everything an experiment depends on, as a plain value.

Two equal scenarios give the same events and the same state hash. A scenario goes to JSON
and back unchanged, has a fingerprint, and any part of it can be replaced by its path:
``scenario.replaced("population.leverage_median", 20.0)``.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import numbers
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import InputError

if TYPE_CHECKING:
    from engine.lab.recorder import Run

#: (upper notional or None, maintenance margin rate, largest leverage), ascending.
TierSpec = tuple[int | None, str, int]

#: The usual shape of a venue's schedule for a deep market.
TIERS: tuple[TierSpec, ...] = (
    (50_000, "0.004", 125), (250_000, "0.005", 100), (1_000_000, "0.01", 50),
    (3_000_000, "0.02", 25), (8_000_000, "0.035", 12), (20_000_000, "0.05", 10),
    (50_000_000, "0.1", 5), (None, "0.5", 1),
)
MarginSource = Literal["fixed", "index", "mark"]
MarkComponent = Literal["index", "basis_ema", "book_median", "last"]
#: Of a price shock, in logs: twenty-fold.
_LARGEST_MOVE = 3.0

#: Numbers that may be below 0.
_SIGNED = frozenset({"beta", "size", "interest"})

ShockKind = Literal[
    "price", "maker_withdrawal", "oracle_lag", "outage", "margin_multiplier", "tiers",
    "collateral_depeg",
]


@dataclass(frozen=True)
class SymbolSpec:
    """One linear perpetual.

    Attributes
    ----------
    name : str
    first_price : str
        Of index and mark when the run begins.
    beta : float
        How much of the common move (noise and price shocks) this index makes.
    popularity : float
        Weight when positions are drawn.
    tiers : tuple of (upper notional or None, maintenance margin rate, leverage)
    """

    name: str
    first_price: str
    beta: float = 1.0
    popularity: float = 1.0
    tiers: tuple[TierSpec, ...] = TIERS


@dataclass(frozen=True)
class PopulationSpec:
    """Traders with cross accounts and open positions; see `engine.lab.population`.

    Attributes
    ----------
    accounts : int
    leverage_median, leverage_sigma, leverage_max : float
        Log-normal; notional of all positions ÷ deposit.
    notional_median, notional_sigma : float
        Log-normal, per position, in the settle asset.
    long_share : float
        Of the accounts.
    several_share : float
        Share of accounts with positions in two symbols.
    entry_spread : float
        Entries lie up to this fraction around the first price, less at high leverage.
    top_up_share, reduce_share : float
        Accounts that answer a margin call by a deposit, or by closing a part.
    stop_share, stop_distance : float
        Accounts with a stop order at this share of the way to their bankruptcy.
    reopen_share : float
        Accounts that open again what auto-deleveraging closed.
    reaction_s : float
        How long all of these take.
    trigger_reach : float
        Above 0: deposits are such that each account is liquidated where prices have moved against
        it by a factor drawn log-uniformly, from 1 to exp(trigger_reach); leverage is not drawn.
    """

    accounts: int = 8_000
    leverage_median: float = 12.0
    leverage_sigma: float = 0.7
    leverage_max: float = 75.0
    notional_median: float = 3_000.0
    notional_sigma: float = 1.5
    long_share: float = 0.66
    several_share: float = 0.25
    entry_spread: float = 0.02
    top_up_share: float = 0.15
    reduce_share: float = 0.15
    stop_share: float = 0.05
    stop_distance: float = 0.5
    reopen_share: float = 0.5
    reaction_s: float = 20.0
    trigger_reach: float = 0.0


@dataclass(frozen=True)
class MakerSpec:
    """Market makers; see `engine.lab.makers` for the formulas.

    Attributes
    ----------
    count : int
        Maker accounts per symbol.
    depth : float
        Calm depth of one side of the book, all makers, as a share of the open notional.
    reach : float
        Distance of the farthest quote from the centre, as a fraction of the price.
    levels : int
    half_spread : float
    impact : float
        Move of the quotes per calm depth of net taker flow.
    impact_half_life_s, refill_half_life_s : float
        How fast that move fades, and how fast eaten depth comes back.
    volatility_half : float
        Volatility per square root of a second at which makers show half.
    inventory_limit : float
        In calm depths: at it a maker stops quoting the side that would add to it.
    interval_s : int
        Each maker quotes anew so often, one after another.
    latency_s : float
    """

    count: int = 2
    depth: float = 0.05
    reach: float = 0.02
    levels: int = 6
    half_spread: float = 0.0002
    impact: float = 0.015
    impact_half_life_s: float = 180.0
    refill_half_life_s: float = 15.0
    volatility_half: float = 0.0012
    inventory_limit: float = 10.0
    interval_s: int = 2
    latency_s: float = 0.2


@dataclass(frozen=True)
class TraderSpec:
    """Takers without positions of their own at the start.

    Attributes
    ----------
    noise_rate : float
        Noise orders a second and symbol.
    noise_size : float
        Mean size, as a share of the calm depth of one side.
    momentum_size : float
        Largest order of the trend followers, in the same unit; 0: none.
    momentum_half_life_s : float
        Of the average that they compare the price with.
    momentum_threshold : float
        Distance from it below which they do nothing.
    latency_s : float
    gaussian_size : float
        Standard deviation of one more order a step and symbol, in the same unit; 0: none.
    """

    noise_rate: float = 0.3
    noise_size: float = 0.01
    momentum_size: float = 0.01
    momentum_half_life_s: float = 60.0
    momentum_threshold: float = 0.01
    latency_s: float = 0.3
    gaussian_size: float = 0.0


@dataclass(frozen=True)
class FundSpec:
    """Value funds that buy below the index on leverage; see `engine.lab.funds`.

    Attributes
    ----------
    count : int
        Of each symbol; 0: there are none.
    wealth : float
        Of all funds of a symbol, in calm depths of one side.
    leverage : float
        Beyond it they do not buy.
    appetite_low, appetite_high : float
        Leverage wanted per unit of log mispricing, of the first and the last fund.
    pace : float
        Share of what is missing that a fund trades in a step.
    pays_out : bool
        Whether profits go to the investors as soon as they are realised, so that a fund stays
        as large as it began.
    """

    count: int = 0
    wealth: float = 0.05
    leverage: float = 10.0
    appetite_low: float = 100.0
    appetite_high: float = 1_000.0
    pace: float = 0.1
    pays_out: bool = False


@dataclass(frozen=True)
class Shock:
    """Something that happens from outside.

    Attributes
    ----------
    kind : str
        ``price``: the log index moves by `size` within `duration_s` (0: a jump), and stays.
        ``maker_withdrawal``: makers show `size` of their depth for `duration_s`.
        ``oracle_lag``: marks are made of an index `size` seconds old for `duration_s`.
        ``outage``: no orders, amends or liquidations for `duration_s`.
        ``margin_multiplier``: margins are `size` times as large from then on.
        ``tiers``: `tiers` is the schedule from then on, positions open or not.
        ``collateral_depeg``: the price of the collateral moves by `size`, a share of its par,
        within `duration_s`, and stays; a recovery is a second shock.
    at_s : float
    duration_s : float
    size : float
    symbol : str or None
        None: all of them, price shocks times the symbol's beta.
    tiers : tuple of (upper notional or None, maintenance margin rate, leverage)
    """

    kind: ShockKind
    at_s: float
    duration_s: float = 0.0
    size: float = 0.0
    symbol: str | None = None
    tiers: tuple[TierSpec, ...] = ()


@dataclass(frozen=True)
class CollateralSpec:
    """An asset at par with the settle asset that some post as margin.

    Attributes
    ----------
    share : float
        Of the accounts, whose whole margin is in it; 0: there is none.
    weight : str
        What of its price counts as margin.
    conversion_fee : str
        Part of the price that is lost where debts are paid with it; weight + fee <= 1.
    """

    share: float = 0.0
    weight: str = "0.95"
    conversion_fee: str = "0.005"

    def __post_init__(self) -> None:
        try:
            is_some = float(self.weight) > 0
        except ValueError:
            is_some = False
        if not is_some:
            raise InputError(f"collateral: a weight is a number above 0, not {self.weight}")


@dataclass(frozen=True)
class FundingSpec:
    """Payments between longs and shorts; see `engine.lab.funding` for the formula.

    Attributes
    ----------
    interval_s : int
        Between settlements; 0: there are none, and the rate is only followed.
    average_s : float
        Over which the premium is averaged.
    interest, damper, cap : float
        Of one settlement.
    """

    interval_s: int = 0
    average_s: float = 60.0
    interest: float = 0.0001
    damper: float = 0.0005
    cap: float = 0.02


@dataclass(frozen=True)
class MarkSpec:
    """How marks are made: the median of components, in a band around the index.

    Attributes
    ----------
    components : tuple of str
        ``index``; ``basis_ema``: index plus the exponential average of mid less index;
        ``book_median``: median of best bid, best ask and last; ``last``.
    ema_s : float
        Time constant of the average.
    band : float or None
        Greatest distance from the index, as a fraction of it.
    """

    components: tuple[MarkComponent, ...] = ("index", "basis_ema", "last")
    ema_s: float = 20.0
    band: float | None = None


@dataclass(frozen=True)
class MarginSpec:
    """Margins that follow volatility; see `engine.lab.venue` for the formula.

    Attributes
    ----------
    source : str
        Whose volatility it is: ``index``, ``mark``, or ``fixed``: margins do not follow any.
    calm : float
        Volatility per square root of a second up to which margins are as in the schedule, of
        a symbol with a beta of 1; of others times beta.
    half_life_s : float
        Of the moving average of squared moves.
    largest : float
        Multiple of the schedule; no maintenance rate may come above 1 by it.
    interval_s : int
        Between looks at it.
    """

    source: MarginSource = "fixed"
    calm: float = 0.0003
    half_life_s: float = 60.0
    largest: float = 2.0
    interval_s: int = 10


SYMBOLS = (
    SymbolSpec("BTC", "60000", 1.0, 3.0), SymbolSpec("ETH", "3000", 1.2, 2.0),
    SymbolSpec("ALT", "25", 1.5, 1.0),
)


@dataclass(frozen=True)
class Scenario:
    """One experiment.

    Attributes
    ----------
    name : str
    seed : int
        Of everything drawn. The same seed draws the same numbers whatever else changes.
    duration_s, step_s : int
        Length, and time between marks.
    symbols : tuple of SymbolSpec
    volatility : float
        Of the common log index, per square root of a second.
    own_volatility : float
        Of each index on top of that.
    tape : tuple of (seconds, price)
        Replaces the noise of the common index by a recorded path, relative to its first price.
    profile : str or dict
        How pools are liquidated: as in the `instrument` command.
    population, collateral, makers, traders, funds, mark, margins
        See there.
    shocks : tuple of Shock
    insurance : float
        Balance of the fund at the start, in the settle asset.

    Examples
    --------
    >>> one = Scenario(seed=7).replaced("makers.depth", 0.2)
    >>> Scenario.from_json(one.to_json()) == one
    True
    """

    name: str = "crash"
    seed: int = 1
    duration_s: int = 900
    step_s: int = 1
    symbols: tuple[SymbolSpec, ...] = SYMBOLS
    volatility: float = 0.00012
    own_volatility: float = 0.00005
    tape: tuple[tuple[float, float], ...] = ()
    profile: str | dict[str, Any] = "default"
    population: PopulationSpec = field(default_factory=PopulationSpec)
    collateral: CollateralSpec = field(default_factory=CollateralSpec)
    makers: MakerSpec = field(default_factory=MakerSpec)
    traders: TraderSpec = field(default_factory=TraderSpec)
    funds: FundSpec = field(default_factory=FundSpec)
    mark: MarkSpec = field(default_factory=MarkSpec)
    margins: MarginSpec = field(default_factory=MarginSpec)
    funding: FundingSpec = field(default_factory=FundingSpec)
    shocks: tuple[Shock, ...] = (
        Shock("price", 120.0, 150.0, -0.035), Shock("price", 420.0, 0.0, -0.03))
    insurance: float = 250_000.0

    def __post_init__(self) -> None:
        _check_numbers("", self)
        if self.duration_s < 1 or self.step_s < 1 or not self.symbols or self.seed < 0:
            raise InputError("a scenario has a duration, a step, symbols, and a seed from 0")
        if len({symbol.name for symbol in self.symbols}) != len(self.symbols):
            raise InputError("two symbols of the same name")
        if not self.mark.components:
            raise InputError("mark.components is empty")
        if min(self.margins.calm, self.margins.half_life_s, self.margins.interval_s) <= 0 or (
                self.margins.largest < 1):
            raise InputError("margins: calm, half_life_s, interval_s above 0, largest from 1")
        if self.funding.interval_s < 0 or min(self.funding.damper, self.funding.cap) < 0 or (
                self.funding.average_s <= 0 or self.funding.cap > 1):
            raise InputError("funding: interval_s, damper from 0, cap 0 to 1, average_s above 0")
        if not 0 <= self.population.trigger_reach <= 2:
            raise InputError("population.trigger_reach: from 0 to 2")
        if self.population.accounts < 1:
            raise InputError("population.accounts: at least 1")
        names = {symbol.name for symbol in self.symbols}
        for at, shock in enumerate(self.shocks):
            _check_shock(f"shocks.{at}", shock)
            if shock.symbol is not None and shock.symbol not in names:
                raise InputError(f"shocks.{at}: no symbol {shock.symbol}")
            if shock.kind == "margin_multiplier" and shock.size < 1:
                raise InputError(f"shocks.{at}: a margin multiplier is 1 at least")
            if (shock.kind == "tiers") != bool(shock.tiers):
                raise InputError(f"shocks.{at}: a schedule goes with the kind tiers, and only it")

    @property
    def steps(self) -> int:
        """Number of marks."""
        return self.duration_s // self.step_s

    def run(
        self, counterfactual: bool = False, agents: typing.Sequence[Any] = (), maps: bool = True
    ) -> Run:
        """Run the experiment.

        Parameters
        ----------
        counterfactual : bool
            The same random numbers with liquidation switched off: pools that are due are
            noticed, and nothing of theirs is sold.
        agents : sequence of `engine.lab.agents.Agent`
            One's own, beside the scenario's.
        maps : bool
            Take liquidation maps on the way; nothing else depends on it.

        Returns
        -------
        Run
        """
        from engine.lab.run import run

        return run(self, counterfactual=counterfactual, agents=agents, maps=maps)

    def replaced(self, path: str, value: Any) -> Scenario:
        """Return a scenario with one part replaced.

        Parameters
        ----------
        path : str
            Field names and places in tuples, with dots: ``shocks.0.size``. Several, with commas
            between, take a sequence of as many values.
        value : object

        Raises
        ------
        InputError
            No such part.
        ValueError
            Several paths, and not as many values.
        """
        if "," not in path:
            return typing.cast(Scenario, _replaced(self, path.split("."), value, path))
        out = self
        for one, its_value in zip(path.split(","), value, strict=True):
            out = out.replaced(one, its_value)
        return out

    def to_json(self) -> str:
        """Return the scenario as JSON, one way only: fields in order, no spaces to choose."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Scenario:
        """Read what `to_json` wrote; fields left out have their defaults.

        Raises
        ------
        InputError
            Not JSON, or not a scenario.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise InputError(f"not JSON: {error}") from None
        return typing.cast(Scenario, _read(cls, data, "scenario"))

    def fingerprint(self) -> str:
        """Return 16 hex digits that name this scenario."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=8).hexdigest()


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _check_numbers(where: str, part: Any) -> None:
    """Refuse what no run could draw from: numbers below 0, none at all, halves of accounts."""
    own: Any = type(part)
    hints = _hints(own)
    for name, value in vars(part).items():
        kind, path = hints[name], f"{where}{name}"
        if typing.get_origin(kind) is tuple and not isinstance(value, tuple):
            raise InputError(f"{path}: expected a tuple, not {value!r:.40}")
        if dataclasses.is_dataclass(value):
            _check_numbers(f"{path}.", value)
        elif isinstance(value, tuple) and dataclasses.is_dataclass(next(iter(value), None)):
            for at, one in enumerate(value):
                _check_numbers(f"{path}.{at}.", one)
        elif kind is int and (not isinstance(value, numbers.Integral) or int(value) < 0):
            raise InputError(f"{path}: expected a whole number from 0, not {value!r:.40}")
        elif kind is float and not (
                isinstance(value, numbers.Real) and math.isfinite(value)
                and (float(value) >= 0 or name in _SIGNED)):
            raise InputError(f"{path}: expected a number{'' if name in _SIGNED else ' from 0'}, "
                             f"not {value!r:.40}")


def _check_shock(where: str, shock: Shock) -> None:
    # Whoever takes `size` for `duration_s` would have prices beyond all numbers.
    kinds = typing.get_args(ShockKind)
    if shock.kind not in kinds:
        raise InputError(f"{where}.kind: expected {', '.join(kinds)}")
    if shock.kind == "price" and abs(shock.size) > _LARGEST_MOVE:
        raise InputError(
            f"{where}.size: {shock.size:g}; a price moves by {_LARGEST_MOVE:g} at most, in logs")


def _replaced(part: Any, names: list[str], value: Any, path: str) -> Any:
    name, rest = names[0], names[1:]
    if isinstance(part, tuple):
        if not name.isdigit() or int(name) >= len(part):
            raise InputError(f"no such part of a scenario: {path}")
        at = int(name)
        new = _replaced(part[at], rest, value, path) if rest else value
        return part[:at] + (new,) + part[at + 1:]
    if not dataclasses.is_dataclass(part) or name not in {
            one.name for one in dataclasses.fields(part)}:
        raise InputError(f"no such part of a scenario: {path}")
    new = _replaced(getattr(part, name), rest, value, path) if rest else value
    return dataclasses.replace(typing.cast(Any, part), **{name: new})


def _read(kind: Any, data: Any, where: str) -> Any:
    """Make a value of an annotated type of what JSON has for it."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(data, Mapping):
            raise InputError(f"{where}: expected an object")
        hints = _hints(typing.cast(Any, kind))
        unknown = set(data) - set(hints)
        if unknown:
            raise InputError(f"{where}: unknown field {sorted(unknown)[0]}")
        values = {name: _read(hints[name], value, f"{where}.{name}")
                  for name, value in data.items()}
        try:
            return typing.cast(Any, kind)(**values)
        except TypeError as error:
            raise InputError(f"{where}: {error}") from None
    origin = typing.get_origin(kind)
    if origin is tuple:
        if not isinstance(data, list):
            raise InputError(f"{where}: expected a list")
        kinds = typing.get_args(kind)
        if kinds[-1] is Ellipsis:
            return tuple(_read(kinds[0], item, f"{where}.{at}") for at, item in enumerate(data))
        if len(kinds) != len(data):
            raise InputError(f"{where}: expected {len(kinds)} values")
        return tuple(_read(one, item, where) for one, item in zip(kinds, data, strict=True))
    if origin is Literal:
        if data not in typing.get_args(kind):
            raise InputError(f"{where}: expected {', '.join(typing.get_args(kind))}")
        return data
    if origin in (types.UnionType, typing.Union):
        return data
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if isinstance(kind, type) and (
            not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool)):
        raise InputError(f"{where}: expected {kind.__name__}, not {str(data)[:40]!r}")
    return data
