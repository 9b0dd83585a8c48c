"""Typed queries: the replies of the contract, each with its type."""

from __future__ import annotations

from typing import Any, cast

from numpy import integer

from engine.commands import check_shape
from engine.embedding import replies
from engine.embedding.codes import code_of
from engine.embedding.giving import Giving
from engine.errors import Rejected
from engine.messages import RejectReason
from engine.queries import Queries


class TypedQueries(Giving):
    """Queries at the current marks, exact; nothing changes.

    In the examples `exchange` is `engine.embedding.example_exchange()`. All of these methods
    return the reply as it is on the wire, a dict whose type `engine.embedding.replies` spells
    out: decimal strings for prices, quantities, amounts and rates, ints for `seq`, `ts`, ids,
    tiers and ranks, None for what is absent. They raise `Rejected` where they name something
    unknown and `CommandError` where an argument has the wrong type.
    """

    _queries: Queries

    def _ask(self, name: str, **fields: Any) -> Any:
        """Answer the query of these fields, those that are None left out.

        Raises
        ------
        CommandError
            A field of the wrong type.
        Rejected
            Something that does not exist.
        """
        line: dict[str, Any] = {"query": name}
        line.update(
            (field, int(value) if isinstance(value, integer) else value)
            for field, value in fields.items() if value is not None)
        check_shape(line)
        self.core.require_idle()
        reply = self._queries.answer(line)
        if "reply" not in reply:
            code = code_of(RejectReason[reply["reason"].upper()])
            raise Rejected(name, reply["reason"], reply["detail"], code)
        return reply

    def account(self, account: int) -> replies.AccountReply:
        """Return an account: status, balances, pools, positions.

        Notes
        -----
        Complexity: O(its positions and orders).

        Examples
        --------
        >>> exchange.account(1)["available_margin"]
        '10000'
        >>> exchange.account(5)
        Traceback (most recent call last):
        engine.errors.Rejected: account: unknown_account: no such account
        """
        return cast(replies.AccountReply, self._ask("account", account=account))

    def position(self, account: int, symbol: str) -> replies.PositionReply:
        """Return the open legs of an account in a symbol.

        Notes
        -----
        Complexity: O(positions of the account).

        Examples
        --------
        >>> _ = exchange.fill(1, "BTC", "buy", "10", "100")
        >>> exchange.position(1, "BTC")["positions"][0]["notional"]
        '1000'
        """
        return cast(
            replies.PositionReply, self._ask("position", account=account, symbol=symbol))

    def orders(self, account: int) -> replies.OrdersReply:
        """Return the live orders of an account.

        Notes
        -----
        Complexity: O(its orders).

        Examples
        --------
        >>> _ = exchange.submit(1, "BTC", 1, "buy", "limit", "2", "99", client_order_id="mine")
        >>> [order["client_order_id"] for order in exchange.orders(1)["orders"]]
        ['mine']
        """
        return cast(replies.OrdersReply, self._ask("orders", account=account))

    def book(
        self, symbol: str, depth: int | None = None, *, l3: bool = False
    ) -> replies.BookReply:
        """Return the book of a symbol, best prices first.

        Parameters
        ----------
        symbol : str
        depth : int, optional
            Levels of each side, 0 or more; default all.
        l3 : bool, default False
            Order by order, in queue order, instead of the quantity of a level.

        Notes
        -----
        Complexity: O(orders within the depth).

        Examples
        --------
        >>> _ = exchange.submit(1, "BTC", 1, "buy", "limit", "2", "99")
        >>> exchange.book("BTC")["bids"], exchange.book("BTC", l3=True)["bids"]
        ([['99', '2']], [['99', [[1, 1, '2', '2']]]])
        """
        return cast(
            replies.BookReply, self._ask("book", symbol=symbol, depth=depth, l3=l3 or None))

    def tiers(self, symbol: str) -> replies.TiersReply:
        """Return the margin schedule in force, multipliers included.

        Notes
        -----
        Complexity: O(tiers).

        Examples
        --------
        >>> exchange.tiers("BTC")["tiers"][0]["max_leverage"]
        '10'
        """
        return cast(replies.TiersReply, self._ask("tiers", symbol=symbol))

    def instrument_state(self, symbol: str) -> replies.InstrumentReply:
        """Return an instrument: its terms, prices, open interest, halt and profile.

        Notes
        -----
        The query `instrument`; the method `instrument` returns names and grids.
        Complexity: O(1).

        Examples
        --------
        >>> exchange.instrument_state("BTC")["mark_price"]
        '100'
        """
        return cast(replies.InstrumentReply, self._ask("instrument", symbol=symbol))

    def liquidation_queue(self) -> replies.LiquidationQueueReply:
        """Return the pools in liquidation, the worst first, and what each waits for.

        Notes
        -----
        Complexity: O(queue).

        Examples
        --------
        >>> exchange.liquidation_queue()["entries"]
        []
        """
        return cast(replies.LiquidationQueueReply, self._ask("liquidation_queue"))

    def adl_ranking(self, symbol: str) -> replies.AdlRankingReply:
        """Return the holders of both sides, those first that are deleveraged first.

        Notes
        -----
        Complexity: O(holders x log holders).

        Examples
        --------
        >>> _ = exchange.fill(1, "BTC", "buy", "10", "90")
        >>> exchange.adl_ranking("BTC")["long"][0]["account"]
        1
        """
        return cast(replies.AdlRankingReply, self._ask("adl_ranking", symbol=symbol))

    def auction(self, symbol: str) -> replies.AuctionReply:
        """Return where a call auction would uncross now.

        Notes
        -----
        Complexity: O(levels).

        Examples
        --------
        >>> exchange.auction("BTC")["indicative_price"] is None
        True
        """
        return cast(replies.AuctionReply, self._ask("auction", symbol=symbol))

    def insurance(self) -> replies.InsuranceReply:
        """Return the balances of the insurance funds and their positions.

        Notes
        -----
        Complexity: O(assets + symbols).

        Examples
        --------
        >>> exchange.insurance()["assets"]
        {'USDT': {'balance': '0'}}
        """
        return cast(replies.InsuranceReply, self._ask("insurance"))

    def backstops(self) -> replies.BackstopsReply:
        """Return the accounts registered to take over, and what is left of their commitments.

        Notes
        -----
        Complexity: O(backstops).
        """
        return cast(replies.BackstopsReply, self._ask("backstops"))

    def collateral(self, asset: str) -> replies.CollateralReply:
        """Return how an asset counts as collateral, and at which price.

        Notes
        -----
        Complexity: O(tiers).
        """
        return cast(replies.CollateralReply, self._ask("collateral", asset=asset))

    def directory(self) -> replies.DirectoryReply:
        """Return assets and symbols with their indices and steps, for packed commands.

        Notes
        -----
        Complexity: O(assets + symbols).

        Examples
        --------
        >>> exchange.directory()["symbols"][0]["tick_size"]
        '1'
        """
        return cast(replies.DirectoryReply, self._ask("directory"))
