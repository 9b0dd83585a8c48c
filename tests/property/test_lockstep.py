"""A state machine that drives every core with the same commands and lets nothing differ.

Three traders with little money, two makers with much, two or three symbols around a
price of 100. After every command events, state hash and invariants are compared; every
few commands all queries, the event-fed mirror and the margin oracle. A failure prints
the shortest list of commands that was found to fail, as a scenario.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support import oracle
from support.lockstep import Command, Lockstep, explain_failure
from support.mirror import Mirror
from support.universe import MAKERS, PROFILE_CHOICES, SCHEDULES, TRADERS, sensible, tier_rows

traders = st.sampled_from(TRADERS)
accounts = st.sampled_from(TRADERS + MAKERS)
sides = st.sampled_from(("buy", "sell"))
lots = st.integers(1, 5).map(str)
prices = st.one_of(st.integers(95, 105), st.integers(60, 140)).map(str)
marks = st.one_of(
    st.integers(188, 212), st.integers(120, 280), st.sampled_from((40, 600))
).map(lambda halves: f"{halves // 2}.5" if halves % 2 else str(halves // 2))
amounts = st.integers(1, 6000).map(lambda cents: f"{cents // 100}.{cents % 100:02d}")
schedules = st.sampled_from(SCHEDULES).map(tier_rows)
stp_modes = st.sampled_from(("none", "cancel_taker", "cancel_maker", "cancel_both", "decrement"))
numbers = st.integers(0, 2)
triggers = st.one_of(st.integers(95, 105), st.integers(60, 140)).map(str)
trigger_kinds = st.sampled_from((None, "mark", "last", "last", "index"))
groups = st.sampled_from((None, None, 1, 2, 3))
#: What a trader may attach to an entry: (trigger price, kind of price, limit price).
attachments = st.none() | st.tuples(
    triggers, st.sampled_from((None, "mark", "last")), st.none() | prices)
#: How long an order may live, in ns, where it is not until cancelled.
lives = st.sampled_from((None, None, None, 1, 5, 40))
signs = st.sampled_from(("", "", "-"))
profiles = st.none() | st.fixed_dictionaries({}, optional={
    name: st.sampled_from(choices) for name, choices in PROFILE_CHOICES.items()}).map(sensible)


def line(cmd: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for lines of one command; `symbol` is drawn as a number."""
    return st.fixed_dictionaries({"cmd": st.just(cmd), **fields})


def signed(sign: str, amount: str) -> str:
    return sign + amount


#: Everything but trading: one rule for all of it, so that trading is most of what happens.
HOUSEKEEPING = st.one_of(
    line("funding", symbol=numbers,
         rate=st.sampled_from(("0.001", "-0.001", "0.03", "-0.00007", "0.2"))),
    line("tiers", symbol=numbers, tiers=schedules),
    line("profile", symbol=numbers, profile=profiles),
    line("deposit", account=accounts, asset=st.just("USD"), amount=amounts),
    line("withdraw", account=traders, asset=st.just("USD"), amount=amounts),
    line("isolated_margin", account=accounts, symbol=numbers,
         amount=st.builds(signed, signs, amounts)),
    line("leverage", account=accounts, symbol=numbers,
         leverage=st.sampled_from(("1", "2", "3.7", "5", "10", "20", "50"))),
    line("margin_mode", account=accounts, symbol=numbers,
         mode=st.sampled_from(("cross", "isolated"))),
    line("position_mode", account=traders, mode=st.sampled_from(("one_way", "hedge"))),
    line("insurance", asset=st.just("USD"), amount=st.builds(signed, signs, amounts)),
    line("halt", symbol=numbers,
         mode=st.sampled_from(("no_liquidation", "no_liquidation", "cancel_only", "all"))),
    line("resume", symbol=numbers),
    line("resume", symbol=numbers),
    line("cancel_all", account=st.none() | accounts, symbol=st.none() | numbers,
         side=st.none() | sides),
)

#: Limits and timers, and time for them; None: the bare command.
GUARDS = st.one_of(
    line("protection", account=accounts, symbol=numbers, window=st.sampled_from((1, 10, 1000)),
         quantity=st.none() | lots, count=st.sampled_from((None, 1, 2, 3)),
         freeze=st.sampled_from((None, 0, 2, 30))),
    line("cancel_all_after", account=accounts, timeout=st.sampled_from((0, 1, 3, 20))),
    line("margin_call_levels", account=accounts,
         levels=st.sampled_from(([], ["0.5"], ["0.3", "0.8", "0.95"]))),
    line("margin_multiplier", symbol=numbers,
         maintenance=st.sampled_from(("1", "0.5", "1.7", "4")),
         initial=st.sampled_from(("1", "1.3")),
         effective_ts=st.none() | st.integers(1, 60)),
    line("auto_top_up", account=accounts, symbol=numbers, enabled=st.booleans()),
    line("transfer", account=traders, to=accounts, asset=st.just("USD"), amount=amounts),
    line("mark", symbol=numbers, mark_price=marks), st.none(), st.none(),
    line("settle", symbol=numbers, price=st.none() | marks),
)


class Market(RuleBasedStateMachine):
    """All cores, and one market on them."""

    #: The commands of the latest example: of the one that failed, if any did.
    log: ClassVar[list[Command]] = []

    def __init__(self) -> None:
        super().__init__()
        self.lockstep = Lockstep()
        self.mirror = Mirror()
        self.symbols: list[str] = []
        self.commands = 0

    def send(self, cmd: str, **fields: Any) -> None:
        """Apply one command everywhere and audit everything."""
        line = {"cmd": cmd, **{name: value for name, value in fields.items() if value is not None}}
        if cmd in ("order", "fill", "isolated_margin") and line["account"] in self.mirror.hedging:
            line.setdefault("position_side", self.leg(line))
        Market.log = self.lockstep.log
        self.mirror.observe(self.lockstep.apply(line))
        self.lockstep.check()
        self.commands += 1

    def leg(self, line: Command) -> str:
        """A leg for a hedge account's order: mostly it opens, unless it says that it closes."""
        closes = line.get("reduce_only") or line.get("close_position") or self.commands % 4 == 0
        return "short" if (line.get("side") == "buy") == bool(closes) else "long"

    def new_id(self) -> int:
        return 1 + len(self.lockstep.log)

    def symbol(self, number: int) -> str:
        return self.symbols[number % len(self.symbols)]

    # --- the market -------------------------------------------------------------------

    @initialize(
        count=st.integers(2, 3), tiers=st.lists(schedules, min_size=3, max_size=3),
        rules=st.lists(st.sampled_from(("marginal", "whole")), min_size=3, max_size=3),
        kinds=st.lists(st.sampled_from(("linear", "linear", "inverse")), min_size=3, max_size=3),
        maker_fee=st.sampled_from(("0", "-0.001", "0.0002")),
        taker_fee=st.sampled_from(("0", "0.0005", "0.01")),
        liquidation_fee=st.sampled_from(("0", "0.005", "0.05")),
        band=st.sampled_from((None, None, "0.2")), wealth=st.sampled_from(("25", "60", "300")),
        fund=st.sampled_from((None, "5", "500")),
        modes=st.lists(st.sampled_from(("cross", "isolated")), min_size=5, max_size=5),
        leverages=st.lists(st.sampled_from(("5", "10", "20", "50")), min_size=5, max_size=5),
        stp_groups=st.lists(st.sampled_from((None, None, 1, 2)), min_size=5, max_size=5),
        legs=st.lists(st.sampled_from((None, None, "hedge")), min_size=5, max_size=5),
        limits=st.sampled_from((
            {}, {}, {}, {}, {}, {"expiry_ts": 60}, {"min_order_quantity": "2"},
            {"max_order_quantity": "6"},
            {"min_order_notional": "150", "max_order_notional": "900"},
            {"max_open_orders": 4})),
        given=st.lists(profiles, min_size=3, max_size=3),
    )
    def declare(self, count: int, tiers: list[Any], rules: list[str], kinds: list[str],
                maker_fee: str,
                taker_fee: str, liquidation_fee: str, band: str | None, wealth: str,
                fund: str | None, modes: list[str], leverages: list[str],
                stp_groups: list[int | None], legs: list[str | None],
                limits: dict[str, Any], given: list[Any]) -> None:
        self.send("asset", asset="USD", decimals=2)
        self.symbols = ["A", "B", "C"][:count]
        for symbol, rows, tier_rule, kind, profile in zip(
                self.symbols, tiers, rules, kinds, given, strict=False):
            self.send(
                "instrument", symbol=symbol, kind=kind, base=symbol, quote="USD",
                contract_size="10000" if kind == "inverse" else None,
                settle="USD", tick_size="1", mark_tick="0.5", lot_size="1", tiers=rows,
                tier_rule=tier_rule, maker_fee=maker_fee, taker_fee=taker_fee,
                liquidation_fee=liquidation_fee, price_band=band, profile=profile, **limits)
            self.send("mark", symbol=symbol, mark_price="100")
        for account, mode, leverage, group, leg in zip(
                TRADERS + MAKERS, modes, leverages, stp_groups, legs, strict=True):
            self.send("account", account=account, margin_mode=mode, stp_group=group,
                      position_mode=leg, parent=1 if account in (2, 8) else None)
            self.send("deposit", account=account, asset="USD",
                      amount=wealth if account in TRADERS else "5000")
            for symbol, rows in zip(self.symbols, tiers, strict=False):
                most = rows[-1]["max_leverage"]
                self.send("leverage", account=account, symbol=symbol,
                          leverage=min(leverage, most, key=float))
        if fund is not None:
            self.send("insurance", asset="USD", amount=fund)

    # --- orders -----------------------------------------------------------------------

    @rule(account=accounts, number=numbers, side=sides, price=prices, quantity=lots, stp=stp_modes,
          time_in_force=st.sampled_from((None, None, None, "ioc", "fok")),
          flag=st.sampled_from((None, None, None, "post_only", "reduce_only")))
    def limit_order(self, account: int, number: int, side: str, price: str, quantity: str,
                    stp: str, time_in_force: str | None, flag: str | None) -> None:
        flags = {flag: True} if flag else {}
        self.send("order", account=account, symbol=self.symbol(number), order_id=self.new_id(),
                  side=side, type="limit", price=price, quantity=quantity, stp=stp,
                  time_in_force=time_in_force, **flags)

    @rule(account=st.sampled_from(MAKERS), number=numbers, side=sides, away=st.integers(0, 3),
          quantity=st.integers(1, 12))
    def quote(self, account: int, number: int, side: str, away: int, quantity: int) -> None:
        """A maker's order close to the mark."""
        symbol = self.symbol(number)
        middle = int(float(self.mirror.marks[symbol]))
        self.send("order", account=account, symbol=symbol, order_id=self.new_id(), side=side,
                  type="limit", quantity=str(quantity),
                  price=str(middle - away if side == "buy" else middle + away))

    @rule(account=traders, number=numbers, side=sides, quantity=lots, stp=stp_modes,
          is_fok=st.booleans())
    def market_order(self, account: int, number: int, side: str, quantity: str, stp: str,
                     is_fok: bool) -> None:
        self.send("order", account=account, symbol=self.symbol(number), order_id=self.new_id(),
                  side=side, type="market", quantity=quantity, stp=stp,
                  time_in_force="fok" if is_fok else None)

    @rule(number=numbers, pairs=st.lists(
        st.tuples(accounts, accounts, st.integers(-3, 3), lots), min_size=1, max_size=3))
    def meet(self, number: int, pairs: list[tuple[int, int, int, str]]) -> None:
        """Pairs of accounts meet near the mark, if they may."""
        symbol = self.symbol(number)
        for buyer, seller, away, quantity in pairs:
            price = str(max(1, int(float(self.mirror.marks[symbol])) + away))
            for account, side in ((seller, "sell"), (buyer, "buy")):
                self.send("order", account=account, symbol=symbol, order_id=self.new_id(),
                          side=side, type="limit", price=price, quantity=quantity)

    @precondition(lambda self: bool(self.mirror.positions))
    @rule(pick=st.integers(0, 99), quantity=lots, price=st.none() | prices)
    def reduce(self, pick: int, quantity: str, price: str | None) -> None:
        """A reduce-only order on some position."""
        (account, symbol, _), state = list(self.mirror.positions.items())[
            pick % len(self.mirror.positions)]
        self.send("order", account=account, symbol=symbol, order_id=self.new_id(),
                  side="buy" if state[0].startswith("-") else "sell", quantity=quantity,
                  type="market" if price is None else "limit", price=price, reduce_only=True)

    @precondition(lambda self: bool(self.mirror.orders))
    @rule(pick=st.integers(0, 99), change=st.one_of(
        st.fixed_dictionaries({"price": prices}), st.fixed_dictionaries({"quantity": lots}),
        st.fixed_dictionaries({"price": prices, "leaves": lots}),
        st.fixed_dictionaries({"leaves": st.integers(0, 6).map(str)}), st.none(), st.none()))
    def change_order(self, pick: int, change: dict[str, str] | None) -> None:
        """Amend or cancel some live order."""
        account, symbol, order_id = list(self.mirror.orders)[pick % len(self.mirror.orders)]
        cmd = "cancel" if change is None else "amend"
        self.send(cmd, account=account, symbol=symbol, order_id=order_id, **change or {})

    # --- orders that wait, hide, expire or hang together --------------------------------

    def children(self, *attached: tuple[str, str | None, str | None] | None) -> dict[str, Any]:
        """Fields of a bracket; the ids come from a range of their own."""
        return {
            name: {"order_id": 10**6 + 2 * self.new_id() + number, "trigger_price": terms[0],
                   "trigger_by": terms[1], "price": terms[2]}
            for number, (name, terms) in enumerate(
                zip(("take_profit", "stop_loss"), attached, strict=True)) if terms}

    def life(self, nanoseconds: int | None, otherwise: str | None = None) -> dict[str, Any]:
        """Fields of an order that lives so long."""
        if nanoseconds is None:
            return {"time_in_force": otherwise}
        return {"time_in_force": "gtd", "expire_ts": self.lockstep.first.ts + nanoseconds}

    @rule(account=accounts, number=numbers, side=sides, quantity=lots, trigger=triggers,
          kind=st.sampled_from(("stop_market", "stop_limit", "take_profit_market",
                                "take_profit_limit")),
          trigger_by=trigger_kinds, price=prices, life=lives, group=groups, stp=stp_modes,
          otherwise=st.sampled_from((None, None, "ioc", "fok")),
          flag=st.sampled_from((None, None, "reduce_only", "post_only", "close_position")),
          profit=attachments)
    def stop(self, account: int, number: int, side: str, quantity: str, trigger: str, kind: str,
             trigger_by: str | None, price: str, life: int | None, group: int | None, stp: str,
             otherwise: str | None, flag: str | None,
             profit: tuple[str, str | None, str | None] | None) -> None:
        """An order that waits for a price."""
        flags = {flag: True} if flag else {}
        self.send("order", account=account, symbol=self.symbol(number), order_id=self.new_id(),
                  side=side, type=kind, quantity=quantity, trigger_price=trigger,
                  trigger_by=trigger_by, price=price if kind.endswith("limit") else None,
                  oco=group, stp=stp, **self.life(life, otherwise), **flags,
                  **(self.children(profit, None) if flag is None else {}))

    @rule(account=accounts, number=numbers, side=sides, quantity=lots,
          rate=st.sampled_from(("0.01", "0.02", "0.05", "0.5")), start=st.none() | triggers,
          trigger_by=trigger_kinds, life=lives, group=groups,
          closes=st.sampled_from((False, False, True)))
    def trailing_stop(self, account: int, number: int, side: str, quantity: str, rate: str,
                      start: str | None, trigger_by: str | None, life: int | None,
                      group: int | None, closes: bool) -> None:
        self.send("order", account=account, symbol=self.symbol(number), order_id=self.new_id(),
                  side=side, type="trailing_stop_market", quantity=quantity, callback_rate=rate,
                  trigger_price=start, trigger_by=trigger_by, oco=group,
                  close_position=True if closes else None, **self.life(life))

    @rule(account=accounts, number=numbers, side=sides, price=prices,
          quantity=st.integers(2, 12), shown=st.integers(1, 4), life=lives, group=groups,
          stp=stp_modes)
    def iceberg(self, account: int, number: int, side: str, price: str, quantity: int,
                shown: int, life: int | None, group: int | None, stp: str) -> None:
        self.send("order", account=account, symbol=self.symbol(number), order_id=self.new_id(),
                  side=side, type="limit", price=price, quantity=str(quantity),
                  display_quantity=str(min(shown, quantity)), oco=group, stp=stp,
                  **self.life(life))

    @rule(account=accounts, number=numbers, side=sides, price=st.none() | prices, quantity=lots,
          group=groups, life=lives, profit=attachments, loss=attachments)
    def entry(self, account: int, number: int, side: str, price: str | None, quantity: str,
              group: int | None, life: int | None,
              profit: tuple[str, str | None, str | None] | None,
              loss: tuple[str, str | None, str | None] | None) -> None:
        """An order with a bracket, or in a group, or with an end."""
        more = {"type": "market"} if price is None else {
            "type": "limit", "price": price, "oco": group, **self.life(life)}
        self.send("order", account=account, symbol=self.symbol(number), order_id=self.new_id(),
                  side=side, quantity=quantity, **more, **self.children(profit, loss))

    @precondition(lambda self: bool(self.mirror.positions))
    @rule(pick=st.integers(0, 99), trigger=st.none() | triggers, kind=st.sampled_from((
        "stop_market", "take_profit_market")), trigger_by=trigger_kinds)
    def close_all(self, pick: int, trigger: str | None, kind: str,
                  trigger_by: str | None) -> None:
        """Close some position, now or at a price; that needs no quantity."""
        (account, symbol, _), state = list(self.mirror.positions.items())[
            pick % len(self.mirror.positions)]
        when = {"type": "market"} if trigger is None else {
            "type": kind, "trigger_price": trigger, "trigger_by": trigger_by}
        self.send("order", account=account, symbol=symbol, order_id=self.new_id(),
                  side="buy" if state[0].startswith("-") else "sell", close_position=True, **when)

    @precondition(lambda self: bool(self.mirror.pending))
    @rule(pick=st.integers(0, 99), trigger=triggers, quantity=st.none() | lots)
    def move_trigger(self, pick: int, trigger: str, quantity: str | None) -> None:
        """Amend some waiting order."""
        account, symbol, order_id = sorted(self.mirror.pending)[pick % len(self.mirror.pending)]
        self.send("amend", account=account, symbol=symbol, order_id=order_id,
                  trigger_price=trigger, quantity=quantity)

    @rule(number=numbers, orders=st.lists(
        st.tuples(accounts, sides, st.integers(97, 103), st.integers(1, 9),
                  st.sampled_from((None, None, "reduce_only", "iceberg"))),
        min_size=1, max_size=6), ends=st.booleans())
    def auction(self, number: int, orders: list[tuple[int, str, int, int, str | None]],
                ends: bool) -> None:
        """Gather orders, and (mostly by a later rule) let them trade."""
        symbol = self.symbol(number)
        self.send("halt", symbol=symbol, mode="auction")
        for account, side, price, quantity, kind in orders:
            flags = {"reduce_only": {"reduce_only": True}, "iceberg": {"display_quantity": "1"}}
            self.send("order", account=account, symbol=symbol, order_id=self.new_id(), side=side,
                      type="limit", price=str(price), quantity=str(quantity),
                      **flags.get(kind or "", {}))
        if ends:
            self.send("resume", symbol=symbol)

    @rule(fields=GUARDS, step=st.sampled_from((1, 2, 7, 50)))
    def guard(self, fields: dict[str, Any] | None, step: int) -> None:
        """Set a limit or a timer, or let time pass; alone or with a mark."""
        if fields is None:
            fields = {"cmd": "time"}
        if fields["cmd"] in ("time", "mark"):
            fields = fields | {"ts": self.lockstep.first.ts + step}
        if "symbol" in fields:
            fields = fields | {"symbol": self.symbol(fields["symbol"])}
        self.send(**fields)

    # --- facts ------------------------------------------------------------------------

    @rule(number=numbers, mark=marks, index=st.none() | marks)
    def mark(self, number: int, mark: str, index: str | None) -> None:
        self.send("mark", symbol=self.symbol(number), mark_price=mark, index_price=index)

    @rule(prices=st.lists(marks, min_size=3, max_size=3), is_reversed=st.booleans())
    def all_marks(self, prices: list[str], is_reversed: bool) -> None:
        rows = [{"symbol": symbol, "mark_price": price}
                for symbol, price in zip(self.symbols, prices, strict=False)]
        self.send("marks", marks=rows[::-1] if is_reversed else rows)

    @rule(account=accounts, number=numbers, side=sides, quantity=lots, price=prices,
          fee=st.sampled_from(("0", "0.03", "-0.01")))
    def fill(self, account: int, number: int, side: str, quantity: str, price: str,
             fee: str) -> None:
        self.send("fill", account=account, symbol=self.symbol(number), side=side,
                  quantity=quantity, price=price, fee=fee)

    @rule(fields=HOUSEKEEPING)
    def housekeeping(self, fields: dict[str, Any]) -> None:
        fields = dict(fields)
        if fields.get("symbol") is not None:
            fields["symbol"] = self.symbol(fields["symbol"])
        self.send(**fields)

    # --- what must hold ---------------------------------------------------------------

    @precondition(lambda self: self.commands % 4 == 0 and bool(self.symbols))
    @invariant()
    def everything_agrees(self) -> None:
        self.lockstep.compare_queries()
        for exchange in self.lockstep.exchanges.values():
            self.mirror.compare(exchange)
            oracle.verify_auctions(exchange)
            oracle.verify_multipliers(exchange)
            for account in TRADERS:
                oracle.verify(exchange, account)


def run(examples: int, steps: int, *, derandomize: bool) -> None:
    what: BaseException | None = None
    try:
        # Not hypothesis but `explain_failure` shortens: it knows what a command is.
        run_state_machine_as_test(Market, settings=settings(
            max_examples=examples, stateful_step_count=steps, database=None,
            derandomize=derandomize, print_blob=False, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck)))
    except (AssertionError, KeyError) as error:
        what = error
    if what is not None:
        pytest.fail(explain_failure(Market.log, what), pytrace=False)


def test_cores_agree_on_whatever_is_thought_of() -> None:
    run(200, 50, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)  # ten to fifteen minutes on a free core
def test_cores_agree_on_whatever_is_thought_of_for_long() -> None:
    run(2000, 80, derandomize=False)
