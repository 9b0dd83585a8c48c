"""Typed commands about accounts and their money."""

from __future__ import annotations

from collections.abc import Iterable

from engine.embedding.acknowledgement import Acknowledgement
from engine.embedding.giving import Giving
from engine.embedding.terms import LegName, MarginModeName, PositionModeName
from engine.units import DecimalLike


class AccountCommands(Giving):
    """Accounts: opening, money in and out, leverage, modes.

    In the examples `exchange` is `engine.embedding.example_exchange()`. All of these methods
    take `ts`, nanoseconds since the epoch (None: the time of the last command), return an
    `Acknowledgement`, and raise `Rejected` where the command cannot be done and `CommandError`
    where an argument has the wrong type, a float above all.
    """

    def open_account(
        self, account: int, *, margin_mode: MarginModeName | None = None,
        position_mode: PositionModeName | None = None, stp_group: int | None = None,
        margin_call_levels: Iterable[DecimalLike] | None = None,
        margin_call_hysteresis: DecimalLike | None = None, parent: int | None = None,
        ts: int | None = None,
    ) -> Acknowledgement:
        """Open an account.

        Parameters
        ----------
        account : int
            Positive.
        margin_mode : {"cross", "isolated"}, optional
            Of its symbols until told otherwise; default ``cross``.
        position_mode : {"one_way", "hedge"}, optional
            Default ``one_way``.
        stp_group : int, optional
            Accounts of one group do not trade with each other where self-trades are prevented.
        margin_call_levels : iterable of decimal, optional
            Margin ratios that send a margin call, instead of the profile's.
        margin_call_hysteresis : decimal, optional
            By how much a call's level has to be undercut for it to be over.
        parent : int, optional
            Makes it a sub-account.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(1).

        Examples
        --------
        >>> exchange.open_account(7, margin_mode="isolated").account
        7
        """
        return self._give(
            "account", ts, account=account, margin_mode=margin_mode, position_mode=position_mode,
            stp_group=stp_group, margin_call_levels=_list_or_none(margin_call_levels),
            margin_call_hysteresis=margin_call_hysteresis, parent=parent)

    def deposit(
        self, account: int, asset: str, amount: DecimalLike, *, ts: int | None = None
    ) -> Acknowledgement:
        """Pay money in; it can heal a pool in liquidation.

        Parameters
        ----------
        account : int
        asset : str
        amount : decimal, positive, whole minor units
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(positions of the pool).

        Examples
        --------
        >>> exchange.deposit(1, "USDT", "0.5").events[0]["wallet"]
        '10000.5'
        """
        return self._give("deposit", ts, account=account, asset=asset, amount=amount)

    def withdraw(
        self, account: int, asset: str, amount: DecimalLike, *, ts: int | None = None
    ) -> Acknowledgement:
        """Take money out, at most the lesser of the wallet and the available margin.

        Parameters
        ----------
        account : int
        asset : str
        amount : decimal, positive, whole minor units
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(positions of the pool).

        Examples
        --------
        >>> exchange.withdraw(1, "USDT", "10000.01")
        Traceback (most recent call last):
        engine.errors.Rejected: withdraw: insufficient_balance: needs 10000.01, has 10000
        """
        return self._give("withdraw", ts, account=account, asset=asset, amount=amount)

    def transfer(
        self, account: int, to: int, asset: str, amount: DecimalLike, *, ts: int | None = None
    ) -> Acknowledgement:
        """Move money between accounts of one family.

        Parameters
        ----------
        account, to : int
        asset : str
        amount : decimal, positive, whole minor units
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(positions of the two pools).

        Examples
        --------
        >>> _ = exchange.open_account(11, parent=1)
        >>> _ = exchange.transfer(1, 11, "USDT", 2500)
        >>> exchange.account(11)["balances"]
        {'USDT': '2500'}
        """
        return self._give(
            "transfer", ts, account=account, to=to, asset=asset, amount=amount)

    def set_leverage(
        self, account: int, symbol: str, leverage: DecimalLike, *, ts: int | None = None
    ) -> Acknowledgement:
        """Set the leverage of an account in a symbol, at most what its tier allows.

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(positions of the pool).

        Examples
        --------
        >>> exchange.set_leverage(1, "BTC", 5).events[0]["leverage"]
        '5'
        """
        return self._give("leverage", ts, account=account, symbol=symbol, leverage=leverage)

    def set_margin_mode(
        self, account: int, symbol: str, mode: MarginModeName, *, ts: int | None = None
    ) -> Acknowledgement:
        """Choose cross or isolated margin; refused with a position or an order open.

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(1).

        Examples
        --------
        >>> exchange.set_margin_mode(1, "BTC", "isolated").events[0]["margin_mode"]
        'isolated'
        """
        return self._give("margin_mode", ts, account=account, symbol=symbol, mode=mode)

    def set_position_mode(
        self, account: int, mode: PositionModeName, *, ts: int | None = None
    ) -> Acknowledgement:
        """Choose one net position a symbol, or a long and a short leg.

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(symbols of the account).

        Examples
        --------
        >>> exchange.set_position_mode(1, "hedge").events[0]["position_mode"]
        'hedge'
        """
        return self._give("position_mode", ts, account=account, mode=mode)

    def add_margin(
        self, account: int, symbol: str, amount: DecimalLike, *,
        position_side: LegName | None = None, ts: int | None = None,
    ) -> Acknowledgement:
        """Move money between the wallet and an isolated position.

        Parameters
        ----------
        account : int
        symbol : str
        amount : decimal, settle asset
            Negative: back to the wallet.
        position_side : {"long", "short"}, optional
            The leg, of accounts in hedge mode only.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(1).

        Examples
        --------
        >>> _ = exchange.set_margin_mode(1, "BTC", "isolated")
        >>> _ = exchange.fill(1, "BTC", "buy", "10", "100")
        >>> _ = exchange.add_margin(1, "BTC", "50")
        >>> exchange.position(1, "BTC")["positions"][0]["isolated_margin"]
        '150'
        """
        return self._give(
            "isolated_margin", ts, account=account, symbol=symbol, amount=amount,
            position_side=position_side)

    def set_auto_top_up(
        self, account: int, symbol: str, enabled: bool, *, ts: int | None = None
    ) -> Acknowledgement:
        """Have an isolated position topped up from the wallet before it is liquidated.

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(1).

        Examples
        --------
        >>> exchange.set_auto_top_up(1, "BTC", True).events[0]["enabled"]
        True
        """
        return self._give("auto_top_up", ts, account=account, symbol=symbol, enabled=enabled)

    def set_margin_call_levels(
        self, account: int, levels: Iterable[DecimalLike],
        hysteresis: DecimalLike | None = None, *, ts: int | None = None,
    ) -> Acknowledgement:
        """Set the margin ratios at which an account gets margin calls.

        Parameters
        ----------
        account : int
        levels : iterable of decimal
            At most four, ascending, between 0 and 1; none: no calls.
        hysteresis : decimal, of the margin ratio, optional
            How far under its level a call ends; default 0.05.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(positions of the account).

        Examples
        --------
        >>> exchange.set_margin_call_levels(1, ["0.5", "0.8"]).events[0]["levels"]
        ['0.5', '0.8']
        """
        return self._give(
            "margin_call_levels", ts, account=account, levels=list(levels),
            hysteresis=hysteresis)

    def set_account_multiplier(
        self, account: int, multiplier: DecimalLike, *, ts: int | None = None
    ) -> Acknowledgement:
        """Scale the margin that an account needs.

        Parameters
        ----------
        account : int
        multiplier : decimal, factor from 1 to 100
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(positions of the account).

        Examples
        --------
        >>> _ = exchange.set_account_multiplier(1, "1.5")
        >>> exchange.account(1)["margin_multiplier"]
        '1.5'
        """
        return self._give("account_multiplier", ts, account=account, multiplier=multiplier)

    def set_backstop(
        self, account: int, commitment: DecimalLike, *, asset: str | None = None,
        symbol: str | None = None, discount: DecimalLike | None = None, ts: int | None = None,
    ) -> Acknowledgement:
        """Register an account that takes over what the book leaves of liquidations.

        Parameters
        ----------
        account : int
        commitment : decimal, settle asset
            Notional at most; 0 ends it.
        asset, symbol : str, optional
            One of the two: of all symbols that settle in it, or of one.
        discount : decimal, fraction of the mark, optional
            Off it, in the account's favour; default at the bound of the liquidation.
        ts : int, optional

        Returns
        -------
        Acknowledgement

        Notes
        -----
        Complexity: O(backstops).

        Examples
        --------
        >>> _ = exchange.set_backstop(2, 5000, asset="USDT")
        >>> exchange.backstops()["backstops"][0]["remaining"]
        '5000'
        """
        return self._give(
            "backstop", ts, account=account, commitment=commitment, asset=asset, symbol=symbol,
            discount=discount)


def _list_or_none(values: Iterable[DecimalLike] | None) -> list[DecimalLike] | None:
    return None if values is None else list(values)
