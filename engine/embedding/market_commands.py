"""Typed commands about assets, instruments, prices and the venue itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from engine.embedding.acknowledgement import Acknowledgement
from engine.embedding.giving import Giving
from engine.embedding.terms import CollateralTier, HaltModeName, Mark, Row, Tier, as_objects
from engine.units import DecimalLike


class MarketCommands(Giving):
    """What is traded, at which marks, and what the venue does: funding, halts, the fund.

    In the examples `exchange` is `engine.embedding.example_exchange()`. All of these methods
    take `ts`, nanoseconds since the epoch (None: the time of the last command), return an
    `Acknowledgement`, and raise `Rejected` where the command cannot be done and `CommandError`
    where an argument has the wrong type, a float above all.
    """

    # --- assets and instruments -------------------------------------------------------

    def add_asset(
        self, asset: str, decimals: int, *, ts: int | None = None
    ) -> Acknowledgement:
        """Declare an asset.

        Parameters
        ----------
        asset : str
        decimals : int
            Of its minor unit, 0 to 18.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(1).

        Examples
        --------
        >>> _ = exchange.add_asset("EUR", 2)
        >>> exchange.assets
        ['USDT', 'EUR']
        """
        return self._give("asset", ts, asset=asset, decimals=decimals)

    def set_collateral(
        self, asset: str, value_asset: str, tiers: Iterable[CollateralTier | Row], *,
        conversion_threshold: DecimalLike | None = None,
        conversion_fee: DecimalLike | None = None, ts: int | None = None,
    ) -> Acknowledgement:
        """Let an asset count in the pools that settle in another one.

        Parameters
        ----------
        asset, value_asset : str
        tiers : iterable of CollateralTier or mapping
            Marginal weights by amount.
        conversion_threshold : decimal, `value_asset`, optional
            Debt from which collateral is sold.
        conversion_fee : decimal, fraction, optional
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(accounts that hold it).

        Examples
        --------
        >>> from engine.embedding import CollateralTier
        >>> _ = exchange.add_asset("EUR", 2)
        >>> _ = exchange.set_collateral("EUR", "USDT", [CollateralTier(None, "0.9")])
        >>> exchange.set_asset_price("EUR", "1.1").events[0]["price"]
        '1.1'
        """
        return self._give(
            "collateral", ts, asset=asset, value_asset=value_asset,
            tiers=as_objects("tiers", CollateralTier, tiers),
            conversion_threshold=conversion_threshold, conversion_fee=conversion_fee)

    def set_asset_price(
        self, asset: str, price: DecimalLike, *, ts: int | None = None
    ) -> Acknowledgement:
        """Set the price of a collateral asset, in its `value_asset`.

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(accounts that hold it).
        """
        return self._give("asset_price", ts, asset=asset, price=price)

    def add_instrument(
        self, symbol: str, *, settle: str, tick_size: DecimalLike, lot_size: DecimalLike,
        tiers: Iterable[Tier | Row], kind: Literal["linear", "inverse"] = "linear",
        base: str | None = None, quote: str | None = None,
        mark_tick: DecimalLike | None = None, contract_size: DecimalLike | None = None,
        maker_fee: DecimalLike | None = None, taker_fee: DecimalLike | None = None,
        liquidation_fee: DecimalLike | None = None,
        tier_rule: Literal["marginal", "whole"] | None = None,
        price_band: DecimalLike | None = None, max_order_quantity: DecimalLike | None = None,
        min_order_quantity: DecimalLike | None = None,
        min_order_notional: DecimalLike | None = None,
        max_order_notional: DecimalLike | None = None, max_open_orders: int | None = None,
        expiry_ts: int | None = None, profile: str | Mapping[str, Any] | None = None,
        fund: str | None = None, mark_max_age_ns: int | None = None,
        mark_band: DecimalLike | None = None, ts: int | None = None,
    ) -> Acknowledgement:
        """Declare an instrument.

        Parameters
        ----------
        symbol : str
        settle : str
            A declared asset.
        tick_size, lot_size : decimal
            Steps of prices, in quote, and of quantities, in contracts.
        tiers : iterable of Tier or mapping
            The margin schedule, ascending, without gaps.
        kind : {"linear", "inverse"}
        base, quote : str, optional
            Labels; default the symbol and the settle asset.
        mark_tick : decimal, optional
            Step of marks, default the tick.
        contract_size : decimal, default 1
        maker_fee, taker_fee, liquidation_fee : decimal, fraction of notional, default 0
            The first two may be negative: a rebate.
        tier_rule : {"marginal", "whole"}, optional
        price_band : decimal, fraction of mark, optional
            How far from it orders are taken.
        max_order_quantity, min_order_quantity : decimal, optional
        min_order_notional, max_order_notional : decimal, settle asset, optional
        max_open_orders : int, optional
            For each account.
        expiry_ts : int, ns since the epoch, optional
            Of a dated contract.
        profile : str or mapping, optional
            How positions are liquidated: a name, or the fields that differ from a `base`.
        fund : str, optional
            Name of an insurance fund of its own.
        mark_max_age_ns : int, ns, optional
        mark_band : decimal, fraction, optional
            Beyond these a mark stops liquidations.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(tiers).

        Examples
        --------
        >>> from engine.embedding import Tier
        >>> _ = exchange.add_instrument(
        ...     "ETH", settle="USDT", tick_size="0.01", lot_size="0.001",
        ...     tiers=[Tier("0", "50000", "0.005", "100"), Tier("50000", None, "0.01", "50")])
        Traceback (most recent call last):
        engine.errors.Rejected: instrument: bad_instrument: mark_tick x lot_size x \
contract_size is not a whole number of minor units of USDT
        >>> _ = exchange.add_instrument(
        ...     "ETH", settle="USDT", tick_size="0.1", lot_size="0.1",
        ...     tiers=[Tier("0", None, "0.005", "100")])
        >>> exchange.symbols
        ['BTC', 'ETH']
        """
        return self._give(
            "instrument", ts, symbol=symbol, kind=kind, base=symbol if base is None else base,
            quote=settle if quote is None else quote, settle=settle, tick_size=tick_size,
            mark_tick=mark_tick, lot_size=lot_size, contract_size=contract_size,
            maker_fee=maker_fee, taker_fee=taker_fee, liquidation_fee=liquidation_fee,
            tiers=as_objects("tiers", Tier, tiers), tier_rule=tier_rule, price_band=price_band,
            max_order_quantity=max_order_quantity, min_order_quantity=min_order_quantity,
            min_order_notional=min_order_notional, max_order_notional=max_order_notional,
            max_open_orders=max_open_orders, expiry_ts=expiry_ts, profile=profile, fund=fund,
            mark_max_age_ns=mark_max_age_ns, mark_band=mark_band)

    def set_tiers(
        self, symbol: str, tiers: Iterable[Tier | Row], *, ts: int | None = None
    ) -> Acknowledgement:
        """Replace a margin schedule; every holder is looked at again.

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(holders).

        Examples
        --------
        >>> from engine.embedding import Tier
        >>> _ = exchange.set_tiers("BTC", [Tier("0", None, "0.1", "5")])
        >>> exchange.tiers("BTC")["tiers"][0]["maintenance_margin_rate"]
        '0.1'
        """
        return self._give("tiers", ts, symbol=symbol, tiers=as_objects("tiers", Tier, tiers))

    def set_profile(
        self, symbol: str, profile: str | Mapping[str, Any] | None, *, ts: int | None = None
    ) -> Acknowledgement:
        """Set how positions in a symbol are liquidated; None: the default.

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(holders).

        Examples
        --------
        >>> _ = exchange.set_profile("BTC", {"close_policy": "full"})
        >>> exchange.instrument_state("BTC")["profile"]["close_policy"]
        'full'
        """
        return self._give("profile", ts, symbol=symbol, profile=profile)

    def set_margin_multiplier(
        self, symbol: str, maintenance: DecimalLike, initial: DecimalLike, *,
        effective_ts: int | None = None, ts: int | None = None,
    ) -> Acknowledgement:
        """Scale the margins of a symbol, now or at a time.

        Parameters
        ----------
        symbol : str
        maintenance, initial : decimal, factors from 1 to 100
        effective_ts : int, ns since the epoch, optional
            Announces it for later.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(holders).

        Examples
        --------
        >>> exchange.set_margin_multiplier("BTC", "1.5", "1.5").events[0]["maintenance"]
        '1.5'
        """
        return self._give(
            "margin_multiplier", ts, symbol=symbol, maintenance=maintenance, initial=initial,
            effective_ts=effective_ts)

    # --- prices and time --------------------------------------------------------------

    def mark(
        self, symbol: str, mark_price: DecimalLike, index_price: DecimalLike | None = None, *,
        feed_seq: int | None = None, cause: int | None = None, ts: int | None = None,
    ) -> Acknowledgement:
        """Set a mark price: margin calls, triggers and liquidations follow in the same command.

        Parameters
        ----------
        symbol : str
        mark_price : decimal, a multiple of the mark tick
        index_price : decimal, optional
        feed_seq : int, optional
            The feed's own number.
        cause : int, optional
            `seq` of the command whose trades moved the mark.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(triggers crossed), and the liquidations.

        Examples
        --------
        >>> exchange.mark("BTC", "101").events[0]["mark_price"]
        '101'
        """
        return self._give(
            "mark", ts, symbol=symbol, mark_price=mark_price, index_price=index_price,
            feed_seq=feed_seq, cause=cause)

    def marks(
        self, marks: Mapping[str, DecimalLike] | Iterable[Mark | Row], *,
        cause: int | None = None, ts: int | None = None,
    ) -> Acknowledgement:
        """Set several marks as one: all prices first, then what follows.

        Parameters
        ----------
        marks : mapping of symbol to price, or iterable of Mark or mapping
        cause : int, optional
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        `apply_marks` does the same without an answer. Complexity: O(symbols + triggers crossed).

        Examples
        --------
        >>> exchange.marks({"BTC": "99"}).events[0]["mark_price"]
        '99'
        """
        if isinstance(marks, Mapping):
            rows = [{"symbol": symbol, "mark_price": price} for symbol, price in marks.items()]
            return self._give("marks", ts, marks=rows, cause=cause)
        return self._give("marks", ts, marks=as_objects("marks", Mark, marks), cause=cause)

    def funding(
        self, symbol: str, rate: DecimalLike, *, ts: int | None = None
    ) -> Acknowledgement:
        """Settle funding now, at the current mark; longs pay shorts when the rate is positive.

        Parameters
        ----------
        symbol : str
        rate : decimal, fraction of notional
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(holders).

        Examples
        --------
        >>> _ = exchange.fill(1, "BTC", "buy", "10", "100")
        >>> exchange.funding("BTC", "0.0001").events[0]["amount"]
        '-0.1'
        """
        return self._give("funding", ts, symbol=symbol, rate=rate)

    def advance(self, ts: int | None = None) -> Acknowledgement:
        """Move the clock: expiries, cooldowns and timers happen in the order of their time.

        Parameters
        ----------
        ts : int, ns since the epoch, optional
            None stays where it is: liquidations that take turns go on all the same.

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(what is due).

        Examples
        --------
        >>> exchange.advance(1_000).ts
        1000
        """
        return self._give("time", ts)

    # --- the venue --------------------------------------------------------------------

    def fund_insurance(
        self, asset: str, amount: DecimalLike, *, fund: str | None = None,
        ts: int | None = None,
    ) -> Acknowledgement:
        """Pay into an insurance fund, or take out of it.

        Parameters
        ----------
        asset : str
        amount : decimal
            Negative: out of it.
        fund : str, optional
            One of a symbol's own; default the pooled one of the asset.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(1).

        Examples
        --------
        >>> exchange.fund_insurance("USDT", 500).events[0]["balance"]
        '500'
        """
        return self._give("insurance", ts, asset=asset, amount=amount, fund=fund)

    def halt(
        self, symbol: str, mode: HaltModeName, *, ts: int | None = None
    ) -> Acknowledgement:
        """Halt a symbol.

        Parameters
        ----------
        symbol : str
        mode : {"cancel_only", "no_liquidation", "all", "auction"}
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(1).

        Examples
        --------
        >>> _ = exchange.halt("BTC", "cancel_only")
        >>> exchange.submit(1, "BTC", 1, "buy", "limit", "2", "99")
        Traceback (most recent call last):
        engine.errors.Rejected: order: halted: the symbol takes no new orders or amends
        >>> exchange.resume("BTC").events[0]["event"]
        'resumed'
        """
        return self._give("halt", ts, symbol=symbol, mode=mode)

    def resume(self, symbol: str, *, ts: int | None = None) -> Acknowledgement:
        """End a halt; an auction is uncrossed, and pools that wait are looked at.

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(pools that wait), and the trades of an auction.
        """
        return self._give("resume", ts, symbol=symbol)

    def settle(
        self, symbol: str, price: DecimalLike | None = None, *, ts: int | None = None
    ) -> Acknowledgement:
        """Settle a contract for good: all positions are closed at one price.

        Parameters
        ----------
        symbol : str
        price : decimal, a multiple of the mark tick, optional
            Default the mark.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(holders + orders).

        Examples
        --------
        >>> exchange.settle("BTC", "100").events[-1]["price"]
        '100'
        """
        return self._give("settle", ts, symbol=symbol, price=price)
