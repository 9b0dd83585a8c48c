"""What a liquidation step may close, from the rules' text and the events alone.

Books are kept from events as cash and positions: what was paid and received, and the lots
held. It shares no code with either core. Money is in minor units, prices are in mark ticks.
Cross accounts of one asset, one-way, linear symbols, no icebergs and no waiting orders.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

from engine import Exchange
from support.oracle import Market, whole

Event = dict[str, Any]
Profile = dict[str, Any]

FUND = 0
RATE_UNIT = 10**8


@dataclass
class Holder:
    """An account, or the fund (account 0)."""

    cash: int = 0
    lots: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    entry: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def copy(self) -> Holder:
        return Holder(self.cash, defaultdict(int, self.lots), defaultdict(int, self.entry))

    def trade(self, symbol: str, lots: int, value: int) -> None:
        """Book signed lots for a signed value; a closed part releases its entry value, up."""
        self.cash -= value
        held = self.lots[symbol]
        if held * lots < 0:
            closed = min(abs(held), abs(lots))
            released = ceil(Fraction(self.entry[symbol] * closed, abs(held)))
            self.entry[symbol] -= released
            rest = abs(lots) - closed
            value = value * rest // abs(lots)
            lots_opened = rest if lots > 0 else -rest
        else:
            lots_opened = lots
        if lots_opened:
            self.entry[symbol] += value
        self.lots[symbol] = held + lots


@dataclass
class Pending:
    """A step of which the trades have been seen."""

    before: Holder
    depth: Callable[[str, str, int], int]
    prices: list[int] = field(default_factory=list)


@dataclass
class Interval:
    """Notional of a symbol that slices have closed since a time."""

    since: int = 0
    taken: int = 0


class Books:
    """All that is known from the outside, and what must be true of every liquidation.

    Every violation is an AssertionError; `seen` counts what was looked at.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.seen: Counter[str] = Counter()
        self.markets: dict[str, Market] = {}
        self.ticks: dict[str, int] = {}
        self.profiles: dict[str, Profile] = {}
        self.halted: set[str] = set()
        self.marks: dict[str, int] = {}
        self.holders: dict[int, Holder] = defaultdict(Holder)
        #: (account, id) -> symbol, side, price, open lots.
        self.orders: dict[tuple[int, int], list[Any]] = {}
        self.queued: set[int] = set()
        self.cooled: set[int] = set()
        self.ramp_since: dict[int, int] = {}
        self.ramped: Counter[tuple[int, str]] = Counter()
        self.intervals: dict[str, Interval] = defaultdict(Interval)
        self.pending: dict[int, Pending] = {}
        #: Account, symbol, lots wanted, held, open rest, whether there was equity, of the
        #: latest step, as long as its part may still be taken over.
        self.step: tuple[int, str, int, int, int, bool] | None = None
        self.step_ts = 0
        #: Accounts whose liquidation began in the command under way and had no step yet.
        self.fresh: set[int] = set()
        #: The profiles in force when the event under way happened.
        self.current = self.profiles

    # --- the events ---------------------------------------------------------------------

    def apply(self, command: Event) -> list[Event]:
        """Apply a command, follow its events, and look at all pools afterwards."""
        before = {name: dict(profile) for name, profile in self.profiles.items()}
        events = self.exchange.apply(command)
        if not any(event["event"] == "rejected" for event in events):
            self.note_command(command)
        self.fresh.clear()
        for event in events:
            # What fell due by the command's time came before what the command changed.
            is_early = event["seq"] and event.get("ts", 0) < command.get("ts", 0)
            self.current = before if is_early and before else self.profiles
            handler = getattr(self, f"on_{event['event']}", None)
            if handler is not None:
                handler(event)
        self.end_step()
        self.check_pools()
        return events

    def note_command(self, command: Event) -> None:
        cmd = command["cmd"]
        if cmd in ("deposit", "withdraw"):
            cents = whole(command["amount"], Fraction(1, 100))
            self.holders[command["account"]].cash += cents if cmd == "deposit" else -cents
        elif cmd in ("instrument", "profile", "tiers"):
            symbol = command["symbol"]
            self.markets[symbol] = Market.of(self.exchange, symbol)
            terms = self.exchange.query({"query": "instrument", "symbol": symbol})
            self.ticks[symbol] = whole(terms["tick_size"], Fraction(terms["mark_tick"]))
            self.profiles[symbol] = terms["profile"] | {
                "liquidation_fee": terms["liquidation_fee"]}
        elif cmd == "fill":
            symbol = command["symbol"]
            lots = int(command["quantity"]) * (1 if command["side"] == "buy" else -1)
            self.holders[command["account"]].trade(
                symbol, lots, self.value(symbol, lots, self.price(symbol, command["price"])))
        elif cmd == "halt":
            self.halted.add(command["symbol"])
        elif cmd == "resume":
            self.halted.discard(command["symbol"])

    def price(self, symbol: str, text: str) -> int:
        return whole(text, self.markets[symbol].mark_tick)

    def value(self, symbol: str, lots: int, price: int) -> int:
        return int(lots * price * self.markets[symbol].unit)

    def on_mark(self, event: Event) -> None:
        self.marks[event["symbol"]] = self.price(event["symbol"], event["mark_price"])

    def on_order_accepted(self, event: Event) -> None:
        if event["price"] is not None:
            self.orders[event["account"], event["order_id"]] = [
                event["symbol"], event["side"], self.price(event["symbol"], event["price"]),
                int(event["quantity"])]

    def on_order_canceled(self, event: Event) -> None:
        self.orders.pop((event["account"], event["order_id"]), None)

    def on_trade(self, event: Event) -> None:
        symbol, lots = event["symbol"], int(event["quantity"])
        price = self.price(symbol, event["price"])
        taker, maker = event["taker_account"], event["maker_account"]
        if event["liquidation"] and taker != FUND:
            if taker not in self.pending:
                self.end_step()
                self.pending[taker] = Pending(self.holders[taker].copy(), self.depth_now())
            self.pending[taker].prices.append(price)
        sign = 1 if event["taker_side"] == "buy" else -1
        value = self.value(symbol, lots, price)
        self.holders[taker].trade(symbol, sign * lots, sign * value)
        self.holders[maker].trade(symbol, -sign * lots, -sign * value)
        self.holders[taker].cash -= whole(event["taker_fee"], Fraction(1, 100))
        self.holders[maker].cash -= whole(event["maker_fee"], Fraction(1, 100))
        for key in ((maker, event["maker_order_id"]), (taker, event["taker_order_id"])):
            if key in self.orders:
                self.orders[key][3] -= lots
                if self.orders[key][3] == 0:
                    del self.orders[key]

    def on_insurance(self, event: Event) -> None:
        delta, reason = whole(event["delta"], Fraction(1, 100)), event["reason"]
        if reason == "inventory":
            return
        self.holders[FUND].cash += delta
        if reason == "command":
            return
        payer = self.holders[event["account"]]
        payer.cash -= delta
        if reason in ("liquidation_fee", "surplus"):
            self.seen["fee"] += 1
            assert self.step is not None and self.step[0] == event["account"], event
            assert not self.step[5] or self.equity(payer) >= 0, f"a fee bankrupts: {event}"

    def on_socialized_loss(self, event: Event) -> None:
        amount = whole(event["amount"], Fraction(1, 100))
        self.holders[event["account"]].cash -= amount
        self.holders[event["counterparty"]].cash += amount

    def on_liquidation_started(self, event: Event) -> None:
        self.end_step()
        self.queued.add(event["account"])
        self.fresh.add(event["account"])
        self.seen["breach"] += 1

    def on_liquidation_finished(self, event: Event) -> None:
        self.end_step()
        account = event["account"]
        self.queued.remove(account)
        self.cooled.discard(account)
        self.ramp_since.pop(account, None)
        for key in [key for key in self.ramped if key[0] == account]:
            del self.ramped[key]

    def on_liquidation_takeover(self, event: Event) -> None:
        symbol, lots = event["symbol"], int(event["quantity"])
        price = self.price(symbol, event["price"])
        self.hand(symbol, event["account"], FUND, event["side"], lots, price)
        self.seen["takeover"] += 1
        fund, profile = self.holders[FUND], self.current[symbol]
        free = self.equity(fund) - self.maintenance(fund)
        assert free >= 0, f"the fund goes below its requirement by {-free}: {event}"
        most = profile["fund_max_notional"]
        if most is not None:
            held = self.markets[symbol].notional(
                Fraction(abs(fund.lots[symbol])), self.marks[symbol])
            assert held <= whole(most, Fraction(1, 100)), f"beyond the fund's limit: {event}"

    def on_adl(self, event: Event) -> None:
        symbol, lots = event["symbol"], int(event["quantity"])
        price = self.price(symbol, event["price"])
        self.check_winners_first(event, symbol, price)
        side = "sell" if event["side"] == "buy" else "buy"
        self.hand(symbol, event["counterparty"], event["account"], side, lots, price)
        self.seen["adl"] += 1

    def hand(
        self, symbol: str, giver: int, taker: int, side: str, lots: int, price: int
    ) -> None:
        """A part goes from a pool in liquidation to the fund or to a holder."""
        assert self.step is not None and self.step[:2] == (giver, symbol)
        sign, value = (1 if side == "buy" else -1), self.value(symbol, lots, price)
        self.holders[giver].trade(symbol, sign * lots, sign * value)
        self.holders[taker].trade(symbol, -sign * lots, -sign * value)
        account, symbol, wanted, held, rest, has_equity = self.step
        assert rest >= lots, "more is taken over than was left"
        self.step = (account, symbol, wanted, held, rest - lots, has_equity)

    # --- figures ------------------------------------------------------------------------

    def equity(self, holder: Holder) -> int:
        return holder.cash + sum(
            self.value(symbol, lots, self.marks[symbol])
            for symbol, lots in holder.lots.items() if lots)

    def own_maintenance(self, symbol: str, lots: int) -> int:
        market = self.markets[symbol]
        if lots == 0:
            return 0
        return market.maintenance(market.notional(Fraction(abs(lots)), self.marks[symbol]))

    def maintenance(self, holder: Holder) -> int:
        return sum(self.own_maintenance(symbol, lots) for symbol, lots in holder.lots.items())

    def ruling(self, holder: Holder) -> Profile:
        """The profile of the position with the largest requirement, the first of equals."""
        held = [symbol for symbol in self.markets if holder.lots[symbol]]
        return self.current[max(
            held, key=lambda symbol: self.own_maintenance(symbol, holder.lots[symbol]))]

    def is_healthy(self, equity: int, maintenance: int, profile: Profile) -> bool:
        return maintenance < equity * (1 - Fraction(profile["exit_buffer"]))

    def depth_now(self) -> Callable[[str, str, int], int]:
        """The book as it is: lots on show of a side at a price or better."""
        orders = [tuple(order) for order in self.orders.values()]

        def depth(symbol: str, side: str, limit: int) -> int:
            sign = 1 if side == "buy" else -1
            return sum(lots for name, own, price, lots in orders
                       if (name, own) == (symbol, side) and sign * (price - limit) >= 0)

        return depth

    # --- what a step may do -------------------------------------------------------------

    def on_liquidation_step(self, event: Event) -> None:
        account, symbol, side = event["account"], event["symbol"], event["side"]
        if account not in self.pending:
            self.end_step()
            self.pending[account] = Pending(self.holders[account].copy(), self.depth_now())
        pending = self.pending.pop(account)
        before, profile = pending.before, self.current[symbol]
        equity = self.equity(before)
        held, sign = abs(before.lots[symbol]), (1 if side == "sell" else -1)
        limit, quantity = self.price(symbol, event["limit_price"]), int(event["quantity"])
        assert (before.lots[symbol] > 0) == (side == "sell"), event
        assert symbol not in self.halted, f"a halted symbol is liquidated: {event}"
        for price in pending.prices:
            assert sign * (price - limit) >= 0, f"a fill beyond the bound: {price}, {event}"
        lots, room = self.lots_allowed(pending, account, symbol, event["ts"])
        assert quantity == min(lots, room), f"{lots} lots, room for {room}: {event}"
        bound, worst = self.prices(before, symbol, quantity)
        assert limit == worst, f"the limit should be {worst}, the bound {bound}: {event}"
        self.seen[profile["close_policy"]] += 1
        self.seen[profile["order_bound"]] += 1
        if account in self.fresh:
            self.fresh.remove(account)
            self.check_choice(account, before, symbol, event["ts"], pending)
        # The fee: its rate, up, and no more than was saved over the bankruptcy price.
        value = whole(event["filled_value"], Fraction(1, 100))
        fee = whole(event["fee"], Fraction(1, 100))
        filled = int(event["filled"])
        assert fee <= ceil(value * Fraction(profile["liquidation_fee"])), event
        assert fee <= max(0, sign * (value - self.value(symbol, filled, bound))), event
        rest = quantity - filled
        self.step = (account, symbol, quantity, held, rest, equity > 0)
        self.step_ts = event["ts"]

    def end_step(self) -> None:
        """Draw the consequences of a step: what its part closed, all told."""
        if self.step is None:
            return
        account, symbol, quantity, held, rest, has_equity = self.step
        self.step = None
        profile, closed = self.current[symbol], quantity - rest
        if has_equity and profile["unfilled"] == "wait":
            self.seen["wait"] += rest > 0
        if closed == 0:
            return
        if profile["close_policy"] == "fraction" and quantity < held:
            self.cooled.add(account)
        if profile["close_policy"] == "ramp":
            self.ramp_since.setdefault(account, self.step_ts)
            self.ramped[account, symbol] += closed
        if has_equity and profile["slice_rate"] is not None:
            interval = self.intervals[symbol]
            if self.taken(symbol, self.step_ts) == 0:
                interval.since, interval.taken = self.step_ts, 0
            interval.taken += self.value(symbol, closed, self.marks[symbol])
            one = self.value(symbol, 1, self.marks[symbol])
            assert interval.taken <= max(one, whole(profile["slice_rate"], Fraction(1, 100)))

    def taken(self, symbol: str, ts: int) -> int:
        interval = self.intervals[symbol]
        is_over = ts >= interval.since + self.current[symbol]["slice_interval_ns"]
        return 0 if is_over else interval.taken

    def lots_allowed(
        self, pending: Pending, account: int, symbol: str, ts: int
    ) -> tuple[int, int]:
        """Lots that policy and book allow a step, and those that the rate does."""
        before, profile = pending.before, self.current[symbol]
        equity = self.equity(before)
        lots = self.policy_lots(before, account, symbol, ts)
        if equity <= 0 or lots == 0:
            return lots, lots
        if profile["slice_max_share"] is not None:
            _, limit = self.prices(before, symbol, lots)
            side = "buy" if before.lots[symbol] > 0 else "sell"
            depth = pending.depth(symbol, side, limit)
            if depth:
                cap = max(1, floor(depth * Fraction(profile["slice_max_share"])))
                self.seen["share"] += cap < lots
                lots = min(lots, cap)
        if profile["slice_rate"] is None:
            return lots, lots
        taken, one = self.taken(symbol, ts), self.value(symbol, 1, self.marks[symbol])
        room = max(0, whole(profile["slice_rate"], Fraction(1, 100)) - taken) // one
        room = room if taken else max(1, room)
        self.seen["rate"] += room < lots
        return lots, room

    def policy_lots(self, before: Holder, account: int, symbol: str, ts: int) -> int:
        """Lots that the close policy asks for, by trying them one by one."""
        profile, held = self.current[symbol], abs(before.lots[symbol])
        equity, total = self.equity(before), self.maintenance(before)
        others = total - self.own_maintenance(symbol, held)
        policy = profile["close_policy"]
        if policy == "tier_step":
            lots = self.tier_lots(symbol, held, profile["tiers_per_step"])
        elif policy == "to_target":
            lots = self.target_lots(before, symbol, equity, others)
        elif policy == "fraction":
            lots = self.fraction_lots(account, symbol, held)
        elif policy == "ramp":
            wanted = held
            if profile["ramp_of"] == "target":
                wanted = self.target_lots(before, symbol, equity, others)
            closed = self.ramped[account, symbol]
            due = Fraction(1)
            if equity > 0:
                due = self.ramp_due(profile, ts - self.ramp_since.get(account, ts))
            lots = min(wanted, max(0, max(1, floor((wanted + closed) * due)) - closed))
            if lots == 0:
                return 0
        else:
            lots = held
        rest = self.value(symbol, held - lots, self.marks[symbol])
        is_dust = rest < whole(profile["min_remainder_notional"], Fraction(1, 100))
        return held if is_dust else lots

    def tier_lots(self, symbol: str, held: int, steps: int) -> int:
        market, mark = self.markets[symbol], self.marks[symbol]
        tier = market.tier(market.notional(Fraction(held), mark)) - steps
        if tier < 1:
            return held
        cap = market.tiers[tier - 1][1]
        assert cap is not None
        return next(lots for lots in range(held + 1)
                    if self.value(symbol, held - lots, mark) <= cap)

    def target_lots(self, before: Holder, symbol: str, equity: int, others: int) -> int:
        held, target = abs(before.lots[symbol]), Fraction(self.current[symbol]["target_ratio"])
        ruling = self.ruling(before)
        for lots in range(1, held):
            needed = others + self.own_maintenance(symbol, held - lots)
            if needed <= target * equity and self.is_healthy(equity, needed, ruling):
                return lots
        return held

    def fraction_lots(self, account: int, symbol: str, held: int) -> int:
        profile = self.current[symbol]
        notional = self.value(symbol, held, self.marks[symbol])
        if notional <= whole(profile["fraction_above_notional"], Fraction(1, 100)):
            return held
        if account in self.cooled and profile["after_cooldown"] == "all":
            return held
        return max(1, floor(held * Fraction(profile["fraction"])))

    def ramp_due(self, profile: Profile, passed: int) -> Fraction:
        done = min(profile["ramp_steps"], passed * profile["ramp_steps"] // profile["ramp_ns"])
        rest = (1 - Fraction(profile["fraction"])) * RATE_UNIT
        return Fraction(profile["fraction"]) + Fraction(
            floor(rest * done / profile["ramp_steps"]), RATE_UNIT)

    def prices(self, before: Holder, symbol: str, lots: int) -> tuple[int, int]:
        """The bankruptcy price of a part, and the worst price in the book, in mark ticks."""
        profile, held = self.current[symbol], abs(before.lots[symbol])
        equity, total = self.equity(before), self.maintenance(before)
        own = self.own_maintenance(symbol, held)
        sign = 1 if before.lots[symbol] > 0 else -1
        share: int = equity
        if total:
            released = own - self.own_maintenance(symbol, held - lots)
            share = floor(Fraction(equity * released, total))
        bound = self.on_tick(symbol, sign, Fraction(share, self.value(symbol, lots, 1)))
        if equity <= 0 or profile["order_bound"] == "bankruptcy":
            return bound, bound
        if profile["order_bound"] == "fillable":
            rating = min(Fraction(1), max(Fraction(0), Fraction(
                floor(Fraction(profile["bankruptcy_adjustment"]) * RATE_UNIT
                      * (1 - Fraction(equity, total))), RATE_UNIT)))
            most = floor(own * Fraction(profile["spread_to_maintenance"]))
            away = Fraction(floor(most * rating), self.value(symbol, held, 1))
        else:
            away = self.marks[symbol] * Fraction(profile["bound_band"])
        worst = self.on_tick(symbol, sign, away)
        return bound, sign * max(sign * worst, sign * bound)

    def on_tick(self, symbol: str, sign: int, away: Fraction) -> int:
        """So far from the mark, a sell (1) rounded up to the tick, a buy down; at least one."""
        tick = self.ticks[symbol]
        exact = (self.marks[symbol] - sign * away) / tick
        return tick * max(1, ceil(exact) if sign > 0 else floor(exact))

    def check_choice(
        self, account: int, before: Holder, symbol: str, ts: int, pending: Pending
    ) -> None:
        """The first step of a liquidation is in the position that the profile prefers."""
        choice = self.ruling(before)["position_choice"]
        open_ = [name for name in self.markets if before.lots[name] and name not in self.halted
                 and min(self.lots_allowed(pending, account, name, ts)) > 0]

        def rank(name: str) -> int:
            lots, mark = before.lots[name], self.marks[name]
            if choice == "largest_loss":
                return before.entry[name] - self.value(name, lots, mark)
            if choice == "largest_maintenance":
                return self.own_maintenance(name, lots)
            side = "buy" if lots > 0 else "sell"
            levels: Counter[int] = Counter()
            for price in range(1, 1000):
                lots = pending.depth(name, side, price)
                worse = pending.depth(name, side, price + (1 if side == "buy" else -1))
                if lots > worse:
                    levels[price] = lots - worse
            best = sorted(levels, reverse=side == "buy")[:10]
            return sum(self.value(name, levels[price], price) for price in best)

        if len(open_) > 1:
            self.seen[choice] += 1
            assert symbol == max(open_, key=rank), (choice, [(name, rank(name)) for name in open_])

    def check_winners_first(self, event: Event, symbol: str, price: int) -> None:
        """Nobody who loses is deleveraged while one who wins could be."""
        profile = self.current[symbol]
        if profile["adl_allocation"] != "rank" or profile["adl_score"] == "size":
            return
        sign = 1 if event["side"] == "sell" else -1  # of the positions that are closed
        mark = self.marks[symbol]

        def profit(holder: Holder) -> int:
            return self.value(symbol, holder.lots[symbol], mark) - holder.entry[symbol]

        if profit(self.holders[event["account"]]) >= 0:
            return
        assert self.step is not None
        for account, holder in self.holders.items():
            if account in (FUND, event["account"]) or account in self.queued:
                continue
            if sign * holder.lots[symbol] <= 0 or profit(holder) <= 0:
                continue
            equity = self.equity(holder)
            lots = min(abs(holder.lots[symbol]), self.step[4])
            gain = sign * self.value(symbol, lots, price - mark)
            assert equity <= 0 or equity + gain < 0, f"{account} wins and was spared: {event}"
        self.seen["losers closed"] += 1

    # --- between commands ---------------------------------------------------------------

    def check_pools(self) -> None:
        """Whoever is due is in the queue, whoever is in it is not healthy."""
        self.current = self.profiles
        reply = self.exchange.query({"query": "liquidation_queue"})
        listed = [entry["account"] for entry in reply["entries"]]
        assert sorted(listed) == sorted(self.queued), (listed, self.queued)
        for account, holder in self.holders.items():
            if account == FUND or not any(holder.lots.values()):
                assert account not in self.queued, f"flat, but in the queue: {account}"
                continue
            equity, total, rules = (
                self.equity(holder), self.maintenance(holder), self.ruling(holder))
            is_due = equity < total or (
                equity == total and rules["liquidate_at"] == "ratio_ge_1")
            assert account in self.queued or not is_due, f"due outside the queue: {account}"
            if account in self.queued:
                assert not self.is_healthy(equity, total, rules), f"healthy inside: {account}"
        for entry in reply["entries"]:
            assert entry["waits_for"] is not None, f"left undone: {entry}"
            equity = self.equity(self.holders[entry["account"]])
            assert whole(entry["equity"], Fraction(1, 100)) == equity, entry
            assert entry["waits_for"] != "pause" or equity > 0, f"it pauses in vain: {entry}"
            self.seen["pause"] += entry["waits_for"] == "pause"
