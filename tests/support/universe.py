"""Tiny markets and streams of commands for them, all drawn from one seed.

Few accounts, few prices, small numbers and little money, so that everything that can
collide does: liquidations, takeovers, deleveraging, deficits and refusals are common.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from support.margin_settings import LEVELS, MarginSettings
from support.pledges import CollateralAssets
from support.special_orders import SpecialOrders

Command = dict[str, Any]
#: Account, symbol, position side.
Leg = tuple[int, str, str]

TRADERS = (1, 2, 3)
MAKERS = (8, 9)
#: (cap or None, maintenance rate, max leverage) of each tier; edges lie where positions pass.
SCHEDULES: tuple[tuple[tuple[str | None, str, str], ...], ...] = (
    ((None, "0.005", "20"),),
    (("300", "0.005", "50"), ("900", "0.02", "20"), (None, "0.1", "5")),
    (("250", "0.01", "100"), ("500", "0.03333333", "25"), ("1000", "0.2", "3"),
     ("100000", "0.5", "2")),
    (("200", "0", "10"), (None, "0.05", "10")),
    (("450.5", "0.0123", "33.3"), (None, "0.25", "3.99")),
    (("333.33", "0.9", "1.1"), (None, "0.95", "1")),
    (("5000", "0.004", "125"), ("20000", "0.01", "50")),
    (("400", "0.01", "40"), ("1200", "0.03", "20")),
)
#: What a profile may say; times are as short as those of the stream.
PROFILE_CHOICES: dict[str, tuple[Any, ...]] = {
    "liquidate_at": ("ratio_ge_1", "equity_below_maintenance"),
    "close_policy": ("tier_step", "to_target", "fraction", "full", "ramp", "ramp"),
    "tiers_per_step": (1, 2, 3),
    "target_ratio": ("0.4", "0.8", "0.95", "0.99"),
    "fraction": ("0.01", "0.2", "0.2", "0.5", "1"),
    "fraction_above_notional": ("0", "150", "400.5"),
    "cooldown_ns": (0, 1, 2, 20),
    "after_cooldown": ("all", "fraction"),
    "exit_buffer": ("0", "0", "0.005", "0.02", "0.3"),
    "min_remainder_notional": ("0", "120", "250"),
    "steps_per_command": (None, 1, 1, 2, 5),
    "surplus": ("keep", "fund"),
    "adl_score": ("pnl_x_leverage", "pnl_ratio", "upnl_x_leverage", "size"),
    "adl_price": ("bankruptcy", "mark"),
    "adl_allocation": ("rank", "contracts", "wealth", "min_max"),
    "adl_cancels_orders": (True, True, False),
    "fund_drawdown_limit": (None, "0.05", "0.3", "0.8"),
    "fund_drawdown_window_ns": (1, 3, 100),
    "fund_max_notional": (None, None, "0", "200", "1000"),
    "socialize_losses": (False, True, True),
    "position_choice": ("largest_maintenance", "largest_loss", "most_liquid"),
    "order_bound": ("bankruptcy", "fillable", "fillable", "mark_band"),
    "spread_to_maintenance": ("0.1", "1.5", "10"),
    "bankruptcy_adjustment": ("1", "2.5"),
    "bound_band": ("0", "0.01", "0.05"),
    "unfilled": ("takeover", "wait", "wait"),
    "ramp_ns": (1, 7, 40),
    "ramp_steps": (1, 3, 10),
    "ramp_of": ("position", "target"),
    "slice_max_share": (None, "0.1", "0.5"),
    "slice_rate": (None, "0", "150", "500"),
    "slice_interval_ns": (1, 3, 10),
    "fund_workoff": ("immediate", "twap", "hold", "passive", "passive"),
    "fund_workoff_fraction": ("0.01", "0.3", "1"),
    "fund_workoff_interval_ns": (1, 3, 1000),
    "fund_workoff_offset": ("0", "0.005", "0.05"),
    "fund_workoff_reprice": ("0", "0.001", "0.02", "1"),
    "adl": (True, True, False),
    "fund_fallback": (True, False),
    "backstop": ("off", "before_fund", "before_fund", "after_fund"),
    "closing_fee_reserve": (True, True, False),
    "maker_check": (True, True, False),
    "margin_call_levels": (None, *LEVELS),
    "margin_call_hysteresis": ("0", "0.00000001"),
}


def sensible(profile: Command) -> Command:
    """Return a profile without what does not go together."""
    profile = dict(profile)
    if profile.get("close_policy") == "fraction":
        for name in ("slice_max_share", "slice_rate"):
            profile.pop(name, None)
    target = Fraction(profile.get("target_ratio", "0.8"))
    if profile.get("close_policy") in ("to_target", "ramp") and (
            target >= 1 - Fraction(profile.get("exit_buffer", "0"))):
        del profile["exit_buffer"]
    if profile.get("margin_call_levels"):  # some are under the default hysteresis
        profile.setdefault("margin_call_hysteresis", "0")
    return profile


def tier_rows(schedule: tuple[tuple[str | None, str, str], ...]) -> list[Command]:
    """Return a schedule as the rows of a command."""
    rows: list[Command] = []
    for cap, rate, leverage in schedule:
        rows.append({
            "min_notional": rows[-1]["max_notional"] if rows else "0", "max_notional": cap,
            "maintenance_margin_rate": rate, "max_leverage": leverage})
    return rows


class Universe(SpecialOrders, MarginSettings, CollateralAssets):
    """One market's terms, and a source of commands that fit it (more or less).

    Parameters
    ----------
    seed : int
        Decides the terms, the weights of the commands ("swarm": some are left out, some
        come in crowds) and the commands themselves.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.kinds = random.Random(-seed - 1)
        self.symbols = ["A", "B", "C"][: self.random.randint(2, 3)]
        self.marks = dict.fromkeys(self.symbols, 200)  # in half ticks
        self.mark_steps = {symbol: self.random.choice((1, 1, 2)) for symbol in self.symbols}
        self.lots = {symbol: self.random.choice(("1", "1", "0.1")) for symbol in self.symbols}
        self.assets = ["USD"] + ["ALT"] * (self.random.random() < 0.3)
        self.choose_coins(seed)
        self.live: list[tuple[int, str, int]] = []
        self.held: dict[Leg, str] = {}
        #: Accounts whose symbols have two legs, as far as the events have told.
        self.hedging: set[int] = set()
        self.hedge_chance = self.random.choice((0, 0.4, 0.9))
        self.ts = 0
        self.next_id = 0
        #: Number of the latest command in which a liquidation traded.
        self.forced_seq = 0
        kinds = [name[len("make_"):] for name in dir(self) if name.startswith("make_")]
        base = {"order": 30, "quote": 20, "mark": 12, "marks": 5, "amend": 5, "cancel": 4,
                "cancel_all": 0.5, "halt": 0.3, "resume_all": 2, "fill": 2.5,
                "stop": 8, "special": 6, "auction": 0.5, "protection": 0.7,
                "cancel_all_after": 0.5, "margin_multiplier": 0.7, "auto_top_up": 2,
                "account_multiplier": 0.5,
                "sub_account": 0.3, "margin_call_levels": 1, "settle": 0.1,
                "asset_price": 6, "pledge": 3, "collateral": 0.7,
                "position_mode": 0.7 if self.hedge_chance else 0.05}
        swarm = (0, 0.3, 1, 1, 3)
        self.weights = {
            kind: base.get(kind, 1.5) * self.random.choice(swarm) for kind in sorted(kinds)}
        self.weights["order"] = max(10.0, self.weights["order"])
        self.weights["mark"] = max(3.0, self.weights["mark"])
        self.jumpiness = self.random.choice((0.02, 0.1, 0.3))

    # --- setting up -------------------------------------------------------------------

    def opening(self) -> Iterator[Command]:
        """Yield the commands that declare the market and fund its accounts."""
        pick = self.random.choice
        for asset in self.assets:
            yield {"cmd": "asset", "asset": asset, "decimals": 2 if asset == "USD" else 4}
        for number, symbol in enumerate(self.symbols):
            yield self.instrument(symbol, self.assets[number % len(self.assets)])
        wealth = pick((40, 100, 400))
        for account in TRADERS + MAKERS:
            opening = {"cmd": "account", "account": account,
                       "margin_mode": pick(("cross", "cross", "isolated"))}
            if self.random.random() < 0.3:
                opening["stp_group"] = pick((1, 2))
            if self.random.random() < self.hedge_chance:
                opening["position_mode"] = "hedge"
            yield opening | self.account_settings(account)
            for asset in self.assets:
                amount = pick((2000, 100000))
                if account in TRADERS:
                    amount = round(wealth * self.money_share)
                yield {"cmd": "deposit", "account": account, "asset": asset,
                       "amount": str(amount + self.random.randint(0, 99) / 100)}
            for symbol in self.symbols:
                if self.random.random() < 0.7:
                    yield {"cmd": "leverage", "account": account, "symbol": symbol,
                           "leverage": pick(("1", "2", "5", "10", "20", "50"))}
        yield from self.coin_opening(wealth, TRADERS + MAKERS)
        if self.random.random() < 0.6:
            yield {"cmd": "insurance", "asset": "USD", "amount": pick(("3", "50", "1000"))}
        for symbol in self.symbols:
            if symbol == "A" or self.random.random() < 0.8:
                yield {"cmd": "mark", "symbol": symbol, "mark_price": self.mark_text(symbol)}

    def instrument(self, symbol: str, settle: str) -> Command:
        pick = self.random.choice
        command = {
            "cmd": "instrument", "symbol": symbol, "kind": "linear", "base": symbol,
            "quote": settle, "settle": settle, "tick_size": "1",
            "mark_tick": "0.5" if self.mark_steps[symbol] == 1 else "1",
            "lot_size": self.lots[symbol], "contract_size": pick(("1", "1", "0.2", "3")),
            "maker_fee": pick(("0", "-0.0003", "0.0002", "-0.01", "0.01")),
            "taker_fee": pick(("0", "0.0005", "0.0123", "-0.0001")),
            "liquidation_fee": pick(("0", "0.005", "0.03")),
            "tier_rule": pick(("marginal", "whole")),
            "tiers": tier_rows(pick(SCHEDULES)),
        }
        if self.random.random() < 0.3:
            command["price_band"] = pick(("0.03", "0.155", "0.9"))
        if self.random.random() < 0.1:
            command["max_order_quantity"] = "4"
        if self.random.random() < 0.15:
            command["max_open_orders"] = pick((1, 3, 6))
        if self.random.random() < 0.1:
            command["min_order_quantity"] = "2"
        if self.random.random() < 0.1:
            command |= {"min_order_notional": "60.5", "max_order_notional": "600"}
        if self.kinds.random() < 0.1:
            command["expiry_ts"] = self.ts + self.kinds.choice((3, 50, 2000, 9000))
        if self.kinds.random() < 0.4:
            command["fund"] = self.kinds.choice(("own", "shared"))
        if self.is_rare(0.6) and (profile := self.profile()) != "unheard_of":
            command["profile"] = profile
        if self.is_rare(0.2):
            command["mark_max_age_ns"] = self.random.choice((1, 3, 1000, 2001))
        if self.is_rare(0.2):
            command["mark_band"] = self.random.choice(("0.02", "0.1", "0.00000001"))
        return command | self.kind(settle)

    def kind(self, settle: str) -> Command:
        """Make some inverse: at a price of 100 their contracts are worth what linear ones are."""
        if self.kinds.random() < 0.65:
            return {}
        size = self.kinds.choice(("10000", "10000", "2000", "30000", "7777.77"))
        return {"kind": "inverse", "base": settle, "quote": "X", "contract_size": size}

    def profile(self) -> Command | str | None:
        """Some of what a profile may say, or a name."""
        if self.is_rare(0.1):
            return self.random.choice((None, "default", "okx_swap", "hyperliquid", "unheard_of"))
        share = self.random.choice((0.1, 0.3, 0.7))
        chosen = {name: self.random.choice(choices)
                  for name, choices in PROFILE_CHOICES.items() if self.is_rare(share)}
        chosen = sensible(chosen)
        if self.is_rare(0.3):  # so that losses are left for the winners
            chosen |= {"adl_price": "mark", "fund_max_notional": "0", "socialize_losses": True}
        return chosen

    # --- the stream -------------------------------------------------------------------

    def next(self) -> Command:
        """Return the next command."""
        kind = self.random.choices(list(self.weights), list(self.weights.values()))[0]
        command: Command = getattr(self, f"make_{kind}")()
        if self.random.random() < 0.03:
            self.ts += self.random.choice((1, 1000, -5))
            self.ts = max(0, self.ts)
            command["ts"] = self.ts
        return command

    def observe(self, events: list[dict[str, Any]]) -> None:
        """Learn from the events which orders are live."""
        for event in events:
            kind = event["event"]
            if kind == "trade" and event["liquidation"]:
                self.forced_seq = event["seq"]
            if kind == "position":
                self.held[event["account"], event["symbol"], event["position_side"]] = (
                    event["quantity"])
            if kind in ("account_opened", "position_mode_changed"):
                (self.hedging.add if event["position_mode"] == "hedge"
                 else self.hedging.discard)(event["account"])
            if kind not in (
                    "order_accepted", "order_update", "order_canceled", "order_expired"):
                continue
            key = (event["account"], event["symbol"], event["order_id"])
            if kind == "order_accepted":
                self.live.append(key)
            elif key in self.live and (
                    kind != "order_update" or event["status"] == "filled"):
                self.live.remove(key)

    def account(self) -> int:
        if self.random.random() < 0.01:
            return self.random.choice((0, 77, -1))
        return self.random.choice(TRADERS + TRADERS + MAKERS)

    def symbol(self) -> str:
        return self.random.choice(self.symbols) if self.random.random() > 0.005 else "Z"

    def mark_text(self, symbol: str) -> str:
        halves = self.marks[symbol]
        return f"{halves // 2}.5" if halves % 2 else str(halves // 2)

    def price(self, symbol: str, spread: int = 6) -> str:
        middle = self.marks.get(symbol, 200) // 2
        if self.random.random() < 0.04:
            return self.random.choice(("1", "5000", "99.5", "100000000000000000000", "0", "-3"))
        return str(max(1, middle + self.random.randint(-spread, spread)))

    def quantity(self, symbol: str, most: int = 5) -> str:
        if self.random.random() < 0.03:
            return self.random.choice(("0", "0.05", "4611686018427387905", "1000", "-1"))
        lots = self.random.randint(1, most)
        return str(lots) if self.lots.get(symbol, "1") == "1" else f"0.{lots}" if lots < 10 else "1"

    def amount(self, most: int) -> str:
        if self.random.random() < 0.05:
            return self.random.choice(("0", "0.001", "-7", "99999999999999999999"))
        return str(self.random.randint(1, most * 100) / 100)

    def is_rare(self, chance: float) -> bool:
        return self.random.random() < chance

    # --- commands ---------------------------------------------------------------------

    def make_order(self) -> Command:
        pick = self.random.choice
        symbol = self.symbol()
        self.next_id += 1
        command = {
            "cmd": "order", "account": self.account(), "symbol": symbol,
            "order_id": self.random.randint(1, 9) if self.is_rare(0.15) else 10 + self.next_id,
            "side": pick(("buy", "sell")), "type": "limit", "quantity": self.quantity(symbol)}
        if self.is_rare(0.2):
            command["type"] = "market"
        if command["type"] == "limit" or self.is_rare(0.02):
            command["price"] = self.price(symbol)
        if self.is_rare(0.3):
            times = ("gtc", "ioc", "ioc", "fok", "fok", "gtd")
            command["time_in_force"] = pick(times[:5] if command["type"] == "limit" else times[1:])
        if self.is_rare(0.35):
            command["stp"] = pick(("none", "cancel_taker", "cancel_maker", "cancel_both",
                                   "decrement", "decrement"))
        if self.is_rare(0.1) and command["type"] == "limit":
            command["post_only"] = True
        leg = self.leg(command["account"])
        held = self.held.get((command["account"], symbol, leg), "0")
        if leg != "both":
            command |= self.side_of_leg(leg, held)
        elif self.is_rare(0.03) or (held != "0" and self.is_rare(0.3)):
            command["reduce_only"] = True
            if not self.is_rare(0.1):
                command["side"] = "buy" if held.startswith("-") else "sell"
        if self.is_rare(0.1):
            command["client_order_id"] = f"c{self.next_id}"
        return command

    def leg(self, account: int) -> str:
        """A leg for an account's next order, seldom one that it does not have."""
        return self.random.choice(
            ("long", "short") if (account in self.hedging) != self.is_rare(0.01) else ("both",))

    def side_of_leg(self, leg: str, held: str) -> Command:
        """Fields of an order for a leg, which often closes some of it."""
        closes = self.is_rare(0.4 if held != "0" else 0.05)
        fields: Command = {
            "position_side": leg, "side": "sell" if (leg == "long") == closes else "buy"}
        if self.is_rare(0.2 if closes else 0.01):
            fields["reduce_only"] = True
        return fields

    def make_quote(self) -> Command:
        """A maker's order with some depth, close to the mark."""
        symbol = self.random.choice(self.symbols)
        self.next_id += 1
        side = self.random.choice(("buy", "sell"))
        away = self.random.randint(0, 4) * (-1 if side == "buy" else 1)
        account = self.random.choice(MAKERS)
        command = {
            "cmd": "order", "account": account, "symbol": symbol,
            "order_id": 10 + self.next_id, "side": side, "type": "limit",
            "quantity": self.quantity(symbol, 12),
            "price": str(max(1, self.marks[symbol] // 2 + away))}
        if account in self.hedging:
            command["position_side"] = "long" if side == "buy" else "short"
            if self.is_rare(0.3):
                command["position_side"] = self.random.choice(("long", "short"))
        return command

    def make_amend(self) -> Command:
        command = {"cmd": "amend"} | self._some_order()
        symbol = command["symbol"]
        if self.is_rare(0.6):
            command["price"] = self.price(symbol)
        if self.is_rare(0.3):
            command["trigger_price"] = self.trigger(symbol)
        if self.is_rare(0.5):
            command["quantity"] = self.quantity(symbol, 8)
        elif self.is_rare(0.5):
            command["leaves"] = self.quantity(symbol, 8)
        return command

    def make_cancel(self) -> Command:
        return {"cmd": "cancel"} | self._some_order()

    def _some_order(self) -> Command:
        if self.live and not self.is_rare(0.1):
            account, symbol, order_id = self.random.choice(self.live)
        else:
            account, symbol, order_id = self.account(), self.symbol(), self.random.randint(1, 9)
        return {"account": account, "symbol": symbol, "order_id": order_id}

    def make_cancel_all(self) -> Command:
        command: Command = {"cmd": "cancel_all"}
        if self.is_rare(0.8):
            command["account"] = self.account()
        if self.is_rare(0.5):
            command["symbol"] = self.symbol()
        if self.is_rare(0.3):
            command["side"] = self.random.choice(("buy", "sell"))
        return command

    def _move(self, symbol: str) -> str:
        """Move a symbol's mark and return it; the walk is pulled back to where it began."""
        step = self.random.choice((-3, -2, -1, 0, 1, 2, 3))
        if self.is_rare(self.jumpiness):
            step = self.random.choice((-60, -30, -16, -8, 8, 16, 30, 60))
        pull = (200 - self.marks[symbol]) // 16
        halves = self.marks[symbol] + step * (2 if step % 2 else 1) + pull
        self.marks[symbol] = max(8, halves // self.mark_steps[symbol] * self.mark_steps[symbol])
        return self.mark_text(symbol)

    def make_mark(self) -> Command:
        if self.is_rare(0.02):
            return {"cmd": "mark", "symbol": self.symbol(),
                    "mark_price": self.random.choice(("0", "100.25", "-1", "9" * 30))}
        symbol = self.random.choice(self.symbols)
        command: Command = {"cmd": "mark", "symbol": symbol, "mark_price": self._move(symbol)}
        if self.is_rare(0.1):
            command |= {"index_price": self.mark_text(symbol), "feed_seq": self.next_id}
        return command | self._cause()

    def _cause(self) -> Command:
        """Often the latest command in which a liquidation traded; seldom one to come."""
        if self.kinds.random() < 0.01:
            return {"cause": self.kinds.choice((0, -3, 10**9))}
        if self.forced_seq and self.kinds.random() < 0.6:
            return {"cause": self.forced_seq}
        return {}

    def make_marks(self) -> Command:
        rows = [{"symbol": symbol, "mark_price": self._move(symbol)} for symbol in self.symbols]
        self.random.shuffle(rows)
        rows = rows[: self.random.randint(1, len(rows))]
        return {"cmd": "marks", "marks": rows} | self._cause()

    def make_deposit(self) -> Command:
        return {"cmd": "deposit", "account": self.account(), "asset": self._asset(),
                "amount": self.amount(60)}

    def make_withdraw(self) -> Command:
        return {"cmd": "withdraw", "account": self.account(), "asset": self._asset(),
                "amount": self.amount(150)}

    def _asset(self) -> str:
        return self.random.choice(self.assets) if self.random.random() > 0.02 else "XAU"

    def make_insurance(self) -> Command:
        amount = self.amount(30)
        if self.is_rare(0.4) and not amount.startswith("-"):
            amount = "-" + amount
        command = {"cmd": "insurance", "asset": self._asset(), "amount": amount}
        if self.kinds.random() < 0.4:
            command["fund"] = self.kinds.choice(("own", "own", "shared", "nobody"))
        return command

    def make_leverage(self) -> Command:
        return {"cmd": "leverage", "account": self.account(), "symbol": self.symbol(),
                "leverage": self.random.choice(("1", "2", "3.5", "5", "10", "20", "50", "0.5"))}

    def make_margin_mode(self) -> Command:
        return {"cmd": "margin_mode", "account": self.account(), "symbol": self.symbol(),
                "mode": self.random.choice(("cross", "isolated"))}

    def make_isolated_margin(self) -> Command:
        amount = self.amount(20)
        if self.is_rare(0.5) and not amount.startswith("-"):
            amount = "-" + amount
        account = self.account()
        return {"cmd": "isolated_margin", "account": account, "symbol": self.symbol(),
                "amount": amount} | self.named(self.leg(account))

    @staticmethod
    def named(leg: str) -> Command:
        """The field that names a leg, of commands that need not say which side they mean."""
        return {} if leg == "both" else {"position_side": leg}

    def make_position_mode(self) -> Command:
        return {"cmd": "position_mode", "account": self.account(),
                "mode": self.random.choice(("one_way", "hedge"))}

    def make_fill(self) -> Command:
        symbol = self.symbol()
        price = self.price(symbol, 3)
        if self.is_rare(0.3) and price.isdigit():
            price += ".333"
        account = self.account()
        return {"cmd": "fill", "account": account, "symbol": symbol,
                "side": self.random.choice(("buy", "sell")), "quantity": self.quantity(symbol),
                "price": price, "fee": self.random.choice(("0", "0.05", "-0.02", "0.001")),
                } | self.named(self.leg(account))

    def make_far_fill(self) -> Command:
        """A close elsewhere, far from the mark: where deficits come from."""
        held = {key: text for key, text in self.held.items() if text != "0"}
        if not held:
            return self.make_fill()
        account, symbol, leg = self.random.choice(list(held))
        quantity = held[account, symbol, leg]
        return {"cmd": "fill", "account": account, "symbol": symbol,
                "side": "buy" if quantity.startswith("-") else "sell",
                "quantity": quantity.lstrip("-"), "price": self.price(symbol, 80),
                } | self.named(leg)

    def make_funding(self) -> Command:
        rates = ("0.0001", "-0.0001", "0.01", "-0.01", "0.00333333", "2", "0.000000001")
        return {"cmd": "funding", "symbol": self.symbol(), "rate": self.random.choice(rates)}

    def make_halt(self) -> Command:
        return {"cmd": "halt", "symbol": self.symbol(),
                "mode": self.random.choice(("cancel_only", "no_liquidation", "all"))}

    def make_resume(self) -> Command:
        return {"cmd": "resume", "symbol": self.symbol()}

    def make_resume_all(self) -> Command:
        """Often enough that a halted market comes back."""
        return {"cmd": "resume", "symbol": self.random.choice(self.symbols)}

    def make_tiers(self) -> Command:
        rows = tier_rows(self.random.choice(SCHEDULES))
        if self.is_rare(0.1):
            rows[-1]["maintenance_margin_rate"] = "1.5"
        return {"cmd": "tiers", "symbol": self.symbol(), "tiers": rows}

    def make_profile(self) -> Command:
        profile = self.profile()
        if isinstance(profile, dict) and self.is_rare(0.05):
            profile |= self.random.choice((
                {"fraction": "0.001"}, {"exit_buffer": "1"}, {"steps_per_command": 0},
                {"close_policy": "to_target", "target_ratio": "0.9", "exit_buffer": "0.1"},
                {"close_policy": "fraction", "slice_rate": "150"}, {"ramp_steps": 0},
                {"margin_call_levels": ["0.8", "0.5"]}))
        return {"cmd": "profile", "symbol": self.symbol(), "profile": profile}

    def make_backstop(self) -> Command:
        command: Command = {
            "cmd": "backstop", "account": self.account(),
            "commitment": self.random.choice(("0", "150", "400", "1000", "5000", "0.001", "-1"))}
        if self.is_rare(0.4):
            command["asset"] = self._asset()
        elif not self.is_rare(0.02):
            command["symbol"] = self.symbol()
        if self.is_rare(0.4):
            command["discount"] = self.random.choice(("0", "0.01", "0.25", "0.00000001", "1"))
        return command

    def make_time(self) -> Command:
        self.ts += self.random.choice((1, 1, 1, 5))
        return {"cmd": "time", "ts": self.ts}

    def make_settle(self) -> Command:
        command: Command = {"cmd": "settle", "symbol": self.symbol()}
        if self.is_rare(0.5):
            command["price"] = self.random.choice((
                self.mark_text(self.symbols[0]), self.price(self.symbols[0], 30), "99.75"))
        return command

    def make_declaration(self) -> Command:
        """Now and then: something that exists already, or that makes no sense."""
        return self.random.choice((
            {"cmd": "asset", "asset": "USD", "decimals": 2},
            {"cmd": "account", "account": 1},
            {"cmd": "account", "account": 5, "position_mode": "hedge"},
            {"cmd": "collateral", "asset": "USD", "value_asset": "USD", "tiers": []},
            {"cmd": "asset_price", "asset": "USD", "price": "1"},
            self.instrument(self.symbols[0], "USD"),
            self.instrument(self.symbols[0], "USD") | {"symbol": "Y", "tick_size": "0.0001"},
        ))


class Giant(Universe):
    """The same markets at the edge of the range of integers: amounts around 2**62 units."""

    coin_decimals = (8, 8)

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.lots = dict.fromkeys(self.symbols, "1")
        self.scale = self.coin_scale = self.random.choice((10**6, 10**7, 3 * 10**7, 10**8))

    def opening(self) -> Iterator[Command]:
        for command in super().opening():
            if command["cmd"] == "asset":
                command["decimals"] = 8
            if command["cmd"] in ("deposit", "insurance") and command["asset"] in self.assets:
                whole = int(command["amount"].split(".")[0])
                command["amount"] = str(min(whole * self.scale, 40 * 10**9))
            yield command

    def instrument(self, symbol: str, settle: str) -> Command:
        command = super().instrument(symbol, settle)
        command.pop("max_order_quantity", None)
        return command | {"lot_size": "1", "tiers": self.scaled(command["tiers"])}

    def scaled(self, rows: list[Command]) -> list[Command]:
        return [
            row | {name: row[name] if row[name] is None
                   else str(int(row[name].split(".")[0]) * self.scale)
                   for name in ("min_notional", "max_notional")}
            for row in rows]

    def quantity(self, symbol: str, most: int = 5) -> str:
        if self.is_rare(0.03):
            return str(self.random.choice((4 * 10**8, 9 * 10**8, 2**62, 2**62 - 1)))
        return str(self.random.randint(1, most) * self.scale + self.random.randint(0, 3))

    def amount(self, most: int) -> str:
        return str(self.random.randint(1, most) * self.scale)

    def make_tiers(self) -> Command:
        command = super().make_tiers()
        return command | {"tiers": self.scaled(command["tiers"])}

    def make_mark(self) -> Command:
        command = super().make_mark()
        if self.is_rare(0.03):
            command["mark_price"] = str(self.random.choice((10**6, 10**9, 10**12, 4 * 10**18)))
            if self.kinds.random() < 0.5:
                command["mark_price"] = str(self.kinds.choice((1, 2, 5, 20)))
        return command


class Coarse(Universe):
    """The same markets in whole units of money, mostly inverse: every rounding is felt."""

    coin_decimals = (0, 0)

    def opening(self) -> Iterator[Command]:
        for command in super().opening():
            if command["cmd"] == "asset":
                command["decimals"] = 0
            if "amount" in command:
                command["amount"] = command["amount"].split(".")[0]
            yield command

    def kind(self, settle: str) -> Command:
        sizes = ("10000", "10000", "2000", "30000", "7777", "91", "55440")
        return {"kind": "inverse", "base": settle, "quote": "X", "lot_size": "1",
                "contract_size": self.kinds.choice(sizes)}

    def instrument(self, symbol: str, settle: str) -> Command:
        self.lots[symbol] = "1"
        command = super().instrument(symbol, settle)
        for name in ("min_order_notional", "max_order_notional"):
            if name in command:
                command[name] = command[name].split(".")[0]
        return command | {"tiers": self.whole(command["tiers"])}

    def whole(self, rows: list[Command]) -> list[Command]:
        return [
            row | {name: row[name] and row[name].split(".")[0]
                   for name in ("min_notional", "max_notional")}
            for row in rows]

    def amount(self, most: int) -> str:
        return str(self.random.randint(1, most))

    def make_tiers(self) -> Command:
        command = super().make_tiers()
        return command | {"tiers": self.whole(command["tiers"])}


class Pledged(Universe):
    """The same markets where traders have hardly any money: what they own is collateral."""

    coin_decimals = (5, 5, 8, 18)
    coin_chance = 0.95
    coin_shares = (0.1, 0.2, 0.4)

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.weights |= {
            "asset_price": 20, "pledge": 4, "fill": 8, "deposit": 0.3, "withdraw": 1}
        self.money_share = self.coins.choice((0, 0.01, 0.1))

    def choose_coins(self, seed: int) -> None:
        super().choose_coins(seed)
        if not self.coin_prices:
            self.choose_coins(seed + 10**6)
