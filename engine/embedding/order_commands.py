"""Typed commands about orders and executions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

from engine.embedding.acknowledgement import Acknowledgement
from engine.embedding.giving import Giving
from engine.embedding.terms import (
    Attached,
    LegName,
    OrderTypeName,
    Row,
    SideName,
    StpName,
    TimeInForceName,
    TriggerByName,
    as_object,
)
from engine.units import DecimalLike


class OrderCommands(Giving):
    """Orders, amends and cancels, and fills of a book elsewhere.

    In the examples `exchange` is `engine.embedding.example_exchange()`. All of these methods
    take `ts`, nanoseconds since the epoch (None: the time of the last command), return an
    `Acknowledgement`, and raise `Rejected` where the command cannot be done and `CommandError`
    where an argument has the wrong type, a float above all.
    """

    @overload
    def submit(self, account: Mapping[str, Any], /) -> None: ...

    @overload
    def submit(
        self, account: int, symbol: str, order_id: int, side: SideName, type: OrderTypeName,
        quantity: DecimalLike | None = None, price: DecimalLike | None = None, *,
        time_in_force: TimeInForceName | None = None, post_only: bool = False,
        reduce_only: bool = False, close_position: bool = False,
        trigger_price: DecimalLike | None = None, trigger_by: TriggerByName | None = None,
        callback_rate: DecimalLike | None = None, display_quantity: DecimalLike | None = None,
        expire_ts: int | None = None, stp: StpName | None = None, oco: int | None = None,
        take_profit: Attached | Row | None = None, stop_loss: Attached | Row | None = None,
        position_side: LegName | None = None, client_order_id: str | None = None,
        ts: int | None = None,
    ) -> Acknowledgement: ...

    def submit(
        self, account: int | Mapping[str, Any], symbol: str | None = None,
        order_id: int | None = None, side: SideName | None = None,
        type: OrderTypeName | None = None, quantity: DecimalLike | None = None,
        price: DecimalLike | None = None, *, time_in_force: TimeInForceName | None = None,
        post_only: bool = False, reduce_only: bool = False, close_position: bool = False,
        trigger_price: DecimalLike | None = None, trigger_by: TriggerByName | None = None,
        callback_rate: DecimalLike | None = None, display_quantity: DecimalLike | None = None,
        expire_ts: int | None = None, stp: StpName | None = None, oco: int | None = None,
        take_profit: Attached | Row | None = None, stop_loss: Attached | Row | None = None,
        position_side: LegName | None = None, client_order_id: str | None = None,
        ts: int | None = None,
    ) -> Acknowledgement | None:
        """Place an order; or, given one mapping, apply any command without an answer.

        Parameters
        ----------
        account : int
            Or a mapping: a command as `Exchange.apply` takes it. Its events are left to be
            drained, nothing is returned and nothing raised for a refusal: for loading in bulk.
        symbol : str
        order_id : int
            The client's own, positive, unique among the account's live orders.
        side : {"buy", "sell"}
        type : {"limit", "market", "stop_market", "stop_limit", "take_profit_market", \
"take_profit_limit", "trailing_stop_market"}
        quantity : decimal, a multiple of the lot
            May be left out with `close_position`.
        price : decimal, optional, a multiple of the tick
            Of orders with a limit.
        time_in_force : {"gtc", "ioc", "fok", "gtd"}, optional
            ``gtc`` for a limit order, ``ioc`` for a market order.
        post_only, reduce_only, close_position : bool, default False
        trigger_price : decimal, optional, a multiple of the mark tick
        trigger_by : {"mark", "last", "index"}, optional
            Default ``mark``.
        callback_rate : decimal, optional, fraction
            How far a trailing stop stays behind.
        display_quantity : decimal, optional
            What an iceberg shows.
        expire_ts : int, optional, ns since the epoch
            With ``gtd``.
        stp : {"none", "cancel_taker", "cancel_maker", "cancel_both", "decrement"}, optional
            Self-trade prevention; default ``none``.
        oco : int, optional
            Number of a group of which one cancels the others.
        take_profit, stop_loss : Attached or mapping, optional
            Orders that are armed as this one fills.
        position_side : {"long", "short"}, optional
            The leg, of accounts in hedge mode only.
        client_order_id : str, optional, at most 36 characters
            Echoed in events.
        ts : int, optional

        Returns
        -------
        Acknowledgement
            With the state of the order, what was filled and at which price.

        Notes
        -----
        Complexity: O(fills + log levels), and what the fills set off.

        Examples
        --------
        >>> _ = exchange.submit(2, "BTC", 1, "sell", "limit", "2", "100")
        >>> ack = exchange.submit(1, "BTC", 1, "buy", "market", "2")
        >>> ack.state, ack.filled_quantity, ack.average_price
        ('filled', '2', '100')
        >>> exchange.submit(1, "BTC", 2, "buy", "limit", 1, 100.5)
        Traceback (most recent call last):
        engine.errors.CommandError: cmd 'order': field 'price' must be a decimal string or an \
integer (never a float) or null, not 100.5
        """
        if symbol is None:
            if not isinstance(account, Mapping):
                raise TypeError("submit takes the fields of an order, or one command as a mapping")
            self._submit_line(account)
            return None
        return self._give(
            "order", ts, account=account, symbol=symbol, order_id=order_id, side=side, type=type,
            quantity=quantity, price=price, time_in_force=time_in_force,
            post_only=post_only or None, reduce_only=reduce_only or None,
            close_position=close_position or None, trigger_price=trigger_price,
            trigger_by=trigger_by, callback_rate=callback_rate,
            display_quantity=display_quantity, expire_ts=expire_ts, stp=stp, oco=oco,
            take_profit=as_object(take_profit), stop_loss=as_object(stop_loss),
            position_side=position_side, client_order_id=client_order_id)

    def amend(
        self, account: int, symbol: str, order_id: int, *, price: DecimalLike | None = None,
        trigger_price: DecimalLike | None = None, quantity: DecimalLike | None = None,
        leaves: DecimalLike | None = None, ts: int | None = None,
    ) -> Acknowledgement:
        """Change a live order; a smaller quantity at the same price keeps its place in the queue.

        Parameters
        ----------
        account : int
        symbol : str
        order_id : int
        price, trigger_price : decimal, optional
        quantity : decimal, optional
            New total quantity, filled or not.
        leaves : decimal, optional
            New open quantity, instead of `quantity`; at or below zero it cancels.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(log levels), and O(fills) where it now takes.

        Examples
        --------
        >>> _ = exchange.submit(1, "BTC", 1, "buy", "limit", "2", "99")
        >>> exchange.amend(1, "BTC", 1, leaves="1").remaining
        '1'
        """
        return self._give(
            "amend", ts, account=account, symbol=symbol, order_id=order_id, price=price,
            trigger_price=trigger_price, quantity=quantity, leaves=leaves)

    def cancel(
        self, account: int, symbol: str, order_id: int, *, ts: int | None = None
    ) -> Acknowledgement:
        """Cancel a live order.

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(1) in the book.

        Examples
        --------
        >>> _ = exchange.submit(1, "BTC", 1, "buy", "limit", "2", "99")
        >>> exchange.cancel(1, "BTC", 1).state
        'canceled'
        >>> exchange.cancel(1, "BTC", 1)
        Traceback (most recent call last):
        engine.errors.Rejected: cancel: unknown_order: no such live order
        """
        return self._give("cancel", ts, account=account, symbol=symbol, order_id=order_id)

    def cancel_all(
        self, account: int | None = None, symbol: str | None = None,
        side: SideName | None = None, *, ts: int | None = None,
    ) -> Acknowledgement:
        """Cancel all orders, or those of an account, a symbol, a side.

        Returns
        -------
        Acknowledgement
            Its events name the orders.

        Notes
        -----
        Complexity: O(orders looked at).

        Examples
        --------
        >>> _ = exchange.submit(1, "BTC", 1, "buy", "limit", "2", "99")
        >>> [event["order_id"] for event in exchange.cancel_all(account=1).events]
        [1]
        """
        return self._give("cancel_all", ts, account=account, symbol=symbol, side=side)

    def cancel_all_after(
        self, account: int, timeout: int, *, ts: int | None = None
    ) -> Acknowledgement:
        """Have all orders of an account cancelled unless this is called again in time.

        Parameters
        ----------
        account : int
        timeout : int, ns
            0 switches it off.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(log timers).

        Examples
        --------
        >>> _ = exchange.submit(1, "BTC", 1, "buy", "limit", "2", "99")
        >>> _ = exchange.cancel_all_after(1, 1_000, ts=0)
        >>> [event["event"] for event in exchange.advance(1_000).events]
        ['order_canceled']
        """
        return self._give("cancel_all_after", ts, account=account, timeout=timeout)

    def set_protection(
        self, account: int, symbol: str, *, window: int | None = None,
        quantity: DecimalLike | None = None, count: int | None = None,
        freeze: int | None = None, ts: int | None = None,
    ) -> Acknowledgement:
        """Set a market maker's protection: too much filled in a window, and quotes are pulled.

        Parameters
        ----------
        account : int
        symbol : str
        window : int, ns, optional
            None switches it off.
        quantity : decimal, optional
            Lots filled as a maker in a window that set it off.
        count : int, optional
            Trades in a window that set it off.
        freeze : int, ns, optional
            For how long new orders are refused then.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(1).

        Examples
        --------
        >>> exchange.set_protection(2, "BTC", window=10**9, count=3, freeze=10**9).command
        'protection'
        """
        return self._give(
            "protection", ts, account=account, symbol=symbol, window=window, quantity=quantity,
            count=count, freeze=freeze)

    def fill(
        self, account: int, symbol: str, side: SideName, quantity: DecimalLike,
        price: DecimalLike, *, fee: DecimalLike | None = None,
        position_side: LegName | None = None, ts: int | None = None,
    ) -> Acknowledgement:
        """Book an execution on a book elsewhere; a fact, never refused for margin.

        Parameters
        ----------
        account : int
        symbol : str
        side : {"buy", "sell"}
        quantity : decimal, a multiple of the lot
        price : decimal
            Need not be on the tick.
        fee : decimal, settle asset, optional
            Default 0; negative: a rebate.
        position_side : {"long", "short"}, optional
            The leg, of accounts in hedge mode only.
        ts : int, optional

        Returns
        -------
        Acknowledgement
            It can tell of a liquidation that the fill set off.

        Notes
        -----
        The other half goes to the external account. Complexity: O(1), and what it sets off.

        Examples
        --------
        >>> _ = exchange.fill(1, "BTC", "buy", "3", "100.25")
        >>> exchange.position(1, "BTC")["positions"][0]["quantity"]
        '3'
        """
        return self._give(
            "fill", ts, account=account, symbol=symbol, side=side, quantity=quantity, price=price,
            fee=fee, position_side=position_side)
