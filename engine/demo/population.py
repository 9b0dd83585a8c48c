"""The accounts that the crash hits: a seeded population, written as commands.

About 60 % cross and 40 % isolated accounts, leverage log-normal around 10×,
62 % net long, one to three positions each, sizes log-normal with a few very
large accounts that sit in higher tiers. Positions are opened by `fill` commands
(executions on a book elsewhere) near the first mark. All arithmetic is on
integers, so that a seed means the same population on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

from engine.demo.market import SETTLE, SETTLE_DECIMALS, Market, scaled_text
from engine.feeds.rng import NORMAL_ONE, SplitMix64

Command = dict[str, Any]

_MINOR = 10**SETTLE_DECIMALS
#: Normal numbers are cut to this many steps per standard deviation for the tables.
_STEPS_PER_SIGMA = 256
_SIGMAS = 6


@dataclass(frozen=True)
class PopulationPlan:
    """What the population is made of; the report prints it.

    Attributes
    ----------
    account_count, seed : int
    cross_percent, long_percent : int
    leverage_median : int
    leverage_sigma, notional_sigma : str
        Of the logarithms.
    notional_median : int
        Per position, in whole units of the settle asset.
    large_per_thousand, large_factor : int
        How many accounts are large, and how much larger.
    """

    account_count: int = 100_000
    seed: int = 1
    cross_percent: int = 60
    long_percent: int = 62
    leverage_median: int = 10
    leverage_sigma: str = "0.75"
    leverage_max: int = 100
    notional_median: int = 3_000
    notional_sigma: str = "1.3"
    large_per_thousand: int = 5
    large_factor: int = 60
    position_percents: tuple[int, int, int] = (60, 28, 12)


@dataclass
class PopulationFacts:
    """What was drawn.

    Attributes
    ----------
    cross_count, isolated_count, position_count, long_count : int
    deposits_minor : int
    open_value_minor : dict
        Symbol → value of all positions at entry, both sides, in minor units.
    """

    cross_count: int = 0
    isolated_count: int = 0
    position_count: int = 0
    long_count: int = 0
    deposits_minor: int = 0
    open_value_minor: dict[str, int] = field(default_factory=dict)


@dataclass
class _Leg:
    market: Market
    is_long: bool
    lots: int
    ticks: int

    @property
    def value_minor(self) -> int:
        return self.lots * self.ticks * self.market.lot_value_minor


class Population:
    """Draws accounts one after another.

    Parameters
    ----------
    plan : PopulationPlan
    markets : sequence of Market

    Attributes
    ----------
    plan : PopulationPlan
    facts : PopulationFacts
        Complete once `commands` has been read to its end.
    """

    def __init__(self, plan: PopulationPlan, markets: Sequence[Market]) -> None:
        self.plan = plan
        self._markets = markets
        self._draw = SplitMix64(plan.seed)
        self._leverages = _lognormal_table(plan.leverage_median * 10, plan.leverage_sigma)
        self._notionals = _lognormal_table(plan.notional_median, plan.notional_sigma)
        self.facts = PopulationFacts()

    def commands(self) -> Iterator[Command]:
        """Yield the commands that open all accounts and their positions.

        Yields
        ------
        dict
            Contract commands `account`, `deposit`, `leverage` and `fill`.
        """
        for account in range(1, self.plan.account_count + 1):
            yield from self._account(account)

    def _account(self, account: int) -> Iterator[Command]:
        draw, plan, facts = self._draw, self.plan, self.facts
        is_cross = draw.below(100) < plan.cross_percent
        leverage_tenths = max(self._lookup(self._leverages), 15)
        leverage_tenths = min(leverage_tenths, plan.leverage_max * 10)
        legs = self._legs(leverage_tenths)
        for leg in legs:
            notional = leg.value_minor // _MINOR
            leverage_tenths = min(leverage_tenths, leg.market.max_leverage(notional) * 10)
        # The setting is in whole numbers: an isolated leg is margined by it exactly.
        leverage = max(leverage_tenths // 10, 1)
        value_minor = sum(leg.value_minor for leg in legs)
        if is_cross:
            facts.cross_count += 1
            deposit = -(-value_minor * 10 // leverage_tenths)
        else:
            facts.isolated_count += 1
            # Room for rounding up each leg, and a little left in the wallet.
            deposit = value_minor // leverage + value_minor // 200 + _MINOR
        facts.deposits_minor += deposit
        mode = "cross" if is_cross else "isolated"
        yield {"cmd": "account", "account": account, "margin_mode": mode}
        yield {
            "cmd": "deposit",
            "account": account,
            "asset": SETTLE,
            "amount": scaled_text(deposit, -SETTLE_DECIMALS),
        }
        for leg in legs:
            if not is_cross or leverage > 20:
                yield {
                    "cmd": "leverage",
                    "account": account,
                    "symbol": leg.market.symbol,
                    "leverage": str(leverage),
                }
            yield self._fill(account, leg)

    def _legs(self, leverage_tenths: int) -> list[_Leg]:
        draw, plan = self._draw, self.plan
        roll = draw.below(100)
        leg_count = 1 + (roll >= plan.position_percents[0])
        leg_count += roll >= plan.position_percents[0] + plan.position_percents[1]
        is_long = draw.below(100) < plan.long_percent
        factor = plan.large_factor if draw.below(1000) < plan.large_per_thousand else 1
        first = draw.below(len(self._markets))
        legs = []
        for at in range(min(leg_count, len(self._markets))):
            market = self._markets[(first + at) % len(self._markets)]
            # Most further legs go the same way; some hedge.
            leg_is_long = is_long if at == 0 or draw.below(100) < 80 else not is_long
            # Entries spread by 3 %, less where leverage makes that dangerous: at most a
            # quarter of the margin is lost before the first mark moves.
            spread = min(30_000, 2_500_000 // leverage_tenths)
            shift = draw.below(2 * spread + 1) - spread
            ticks = max(market.first_ticks * (1_000_000 + shift) // 1_000_000, 1)
            notional_minor = self._lookup(self._notionals) * factor * _MINOR
            lots = max(notional_minor // (ticks * market.lot_value_minor), 1)
            legs.append(_Leg(market, leg_is_long, lots, ticks))
        return legs

    def _fill(self, account: int, leg: _Leg) -> Command:
        facts, market = self.facts, leg.market
        facts.position_count += 1
        facts.long_count += leg.is_long
        open_value = facts.open_value_minor
        open_value[market.symbol] = open_value.get(market.symbol, 0) + leg.value_minor
        return {
            "cmd": "fill",
            "account": account,
            "symbol": market.symbol,
            "side": "buy" if leg.is_long else "sell",
            "quantity": market.quantity_text(leg.lots),
            "price": market.price_text(leg.ticks),
        }

    def _lookup(self, table: list[int]) -> int:
        at = self._draw.normal() * _STEPS_PER_SIGMA // NORMAL_ONE
        return table[at + _SIGMAS * _STEPS_PER_SIGMA]


def _lognormal_table(median: int, sigma: str) -> list[int]:
    """Tabulate `median × exp(sigma × z)` for z from -6 to 6.

    Decimal, because its `exp` is correctly rounded everywhere; the C library's is not.
    """
    context = Context(prec=20)
    table = []
    for step in range(-_SIGMAS * _STEPS_PER_SIGMA, _SIGMAS * _STEPS_PER_SIGMA + 1):
        exponent = context.multiply(Decimal(sigma), Decimal(step) / _STEPS_PER_SIGMA)
        table.append(int(context.multiply(Decimal(median), context.exp(exponent))))
    return table
