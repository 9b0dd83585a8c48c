"""`Exchange`: the engine as a Python object; decimals in, decimals out, integers between.

The façade owns names (symbols, assets, client order ids) and number formats, and
nothing else. Every decision is the core's; which core is a constructor argument.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from engine.batches import (
    COMMAND_DTYPE,
    SPECIAL_DTYPE,
    Packed,
    as_rows,
    empty_specials,
    record_rows,
)
from engine.commands import check_shape
from engine.embedding.account_commands import AccountCommands
from engine.embedding.acknowledgement import EventNames
from engine.embedding.event_arrays import split_by_kind
from engine.embedding.market_commands import MarketCommands
from engine.embedding.order_commands import OrderCommands
from engine.embedding.queries import TypedQueries
from engine.embedding.replies import Totals
from engine.embedding.subscriptions import Subscriptions
from engine.errors import CommandError, SubscriberError
from engine.handlers import MarkRow
from engine.instruments import Instrument
from engine.liquidation_map import bucket_sums
from engine.messages import NONE, RECORD_WIDTH, Command
from engine.queries import Queries
from engine.render import render_event
from engine.snapshot import fork, load, to_bytes
from engine.units import DecimalLike

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Exchange(OrderCommands, AccountCommands, MarketCommands, TypedQueries):
    """One exchange: instruments, accounts, books, fund, all in one deterministic object.

    Parameters
    ----------
    core : {"compiled", "reference"}, default "compiled"
        Which implementation runs it; both give the same events and hashes.
    keep_events : bool, default True
        Whether events wait for a drain. Without it they are in acknowledgements and go to
        subscribers only, and who never drains does not collect them.

    Notes
    -----
    Every command is a method with named arguments (`submit`, `mark`, …), which answers with an
    `Acknowledgement` or raises `Rejected`; `apply` takes the same command as a mapping.

    Single writer: one thread at a time may use it, whichever that is; two exchanges share
    nothing. `submit_many` lets other threads run meanwhile; one of them that then uses the same
    exchange gets a `RuntimeError`, and nothing happens. No clock: time is the `ts` of the
    commands.

    Examples
    --------
    >>> exchange = Exchange(core="reference")
    >>> exchange.add_asset("USDT", 6).events[0]["event"]
    'asset_added'
    >>> exchange.apply({"cmd": "asset", "asset": "EUR", "decimals": 2})[0]["event"]
    'asset_added'
    """

    def __init__(self, core: str = "compiled", keep_events: bool = True) -> None:
        if core == "compiled":
            from engine.core import ExchangeCore

            self.core: Any = ExchangeCore()
        elif core == "reference":
            from engine.reference import ReferenceCore

            self.core = ReferenceCore()
        else:
            raise ValueError(f"core must be 'compiled' or 'reference', not {core!r}")
        self.core_name = core
        self.assets_by_index = []
        self.instruments_by_index = []
        self.funds_by_index = []
        self._funds = {}
        self._assets = {}
        self._instruments = {}
        self.client_ids = {}
        self._details = {}
        self.keeps_events = keep_events
        self._undrained = []
        self._subscriptions = Subscriptions()
        self._plain_names = EventNames(
            self.assets_by_index, self.instruments_by_index, self.funds_by_index, {}, {})
        self._queries = Queries(self)
        self._handlers = {
            name: getattr(self, f"_do_{name}") for name in (member.name.lower()
                                                           for member in Command)
        }

    # --- commands ---------------------------------------------------------------------

    def apply(self, command: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Apply one command and return its events.

        Parameters
        ----------
        command : mapping
            ``{"cmd": name, ...}`` as the contract lists them; numbers as decimal
            strings, ints or `Decimal`.

        Returns
        -------
        list of dict
            Events in order, ready for JSON; a refused command gives one `rejected`.

        Raises
        ------
        CommandError
            The mapping does not fit the command's schema; nothing was applied.
        SubscriberError
            A callback raised; the command stands.
        """
        self._set_aside()
        self._apply_line(command)
        records = self.core.drain()
        is_watched = self._subscriptions.are_any()
        if is_watched:
            self._subscriptions.put(records, self._names_of(records))
        events = self._render(records)
        if is_watched:
            errors = self._subscriptions.deliver()
            if errors:
                raise SubscriberError(errors, events) from errors[0]
        return events

    def apply_marks(
        self, marks: Iterable[MarkRow], ts: int | None = None, cause: int | None = None
    ) -> None:
        """Apply marks of several symbols as one `marks` command; events are left to be drained.

        Parameters
        ----------
        marks : iterable of (symbol, mark_price, index_price or None, feed_seq or None)
        ts : int, optional
            Nanoseconds since the epoch.
        cause : int, optional
            Number of the command whose trades moved the marks, if they follow from trades.

        Notes
        -----
        Complexity: O(symbols + triggers crossed).
        """
        self.core.marks(
            [self._mark_row(*row) for row in marks], NONE if ts is None else ts,
            NONE if cause is None else cause)
        self._settle_bulk()

    def submit_many(self, commands: Packed, specials: Packed | None = None) -> int:
        """Apply packed commands in one crossing; events are left to be drained.

        Parameters
        ----------
        commands : array of `engine.batches.COMMAND_DTYPE`, or of int64, shape (n, 12)
            Mixed commands of any symbols, in order; numbers are the core's integers.
        specials : array of `engine.batches.SPECIAL_DTYPE`, or of int64, shape (m, 14)
            Terms beyond the plain ones, which commands name by their row.

        Returns
        -------
        int
            How many were refused; each has its `rejected` event, and the rest went on.

        Raises
        ------
        TypeError, ValueError
            An array of another dtype or shape; nothing was applied.
        RuntimeError
            Another thread is in the middle of a batch on this exchange; nothing was applied.

        Notes
        -----
        The same events and state as one by one. Orders taken so have no client order id.
        Complexity: that of the commands; nothing is made in Python for each.
        """
        rows = as_rows(commands, COMMAND_DTYPE, "commands")
        if specials is None:
            specials = empty_specials(0)
        refused = int(self.core.run(rows, as_rows(specials, SPECIAL_DTYPE, "specials")))
        self._settle_bulk(refused)
        return refused

    def query(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one query at the current marks; nothing changes.

        Raises
        ------
        CommandError
            The mapping does not fit the query's schema.
        """
        if check_shape(query) != "query":
            raise CommandError("a command is not a query")
        self.core.require_idle()
        return self._queries.answer(query)

    def drain(self) -> list[dict[str, Any]]:
        """Return the events since the last `drain` or `apply`, and forget them."""
        records, self._undrained = self._undrained + self.core.drain(), []
        return self._render(records)

    def drain_records(self) -> list[tuple[int, ...]]:
        """Return the same as undecoded records: ``(kind, seq, ts, cause, *payload)``."""
        records: list[tuple[int, ...]] = self._undrained + self.core.drain()
        self._undrained = []
        self._forget_all(records)
        return records

    def drain_array(self) -> npt.NDArray[np.int64]:
        """Return the same as an array, `engine.messages.RECORD_WIDTH` integers a row."""
        if self.client_ids or self._undrained or self.core_name != "compiled":
            return record_rows(self.drain_records())
        data = self.core.drain_bytes()
        self._details.clear()
        return np.frombuffer(data, np.int64).reshape(-1, RECORD_WIDTH)

    def drain_arrays(self) -> dict[str, npt.NDArray[np.void]]:
        """Return the same as structured arrays, one for each kind of event, by its name.

        Returns
        -------
        dict of str to array
            Fields `row` (place in the sequence), `seq`, `ts`, `cause`, and those of the event,
            all int64 in the core's units; `engine.embedding.event_units` says which.

        Notes
        -----
        Complexity: O(events x kinds); of commands given packed or as lines nothing is made in
        Python for each event.

        Examples
        --------
        >>> from engine.embedding import example_exchange
        >>> exchange = example_exchange()
        >>> exchange.submit({"cmd": "deposit", "account": 1, "asset": "USDT", "amount": "0.5"})
        >>> exchange.drain_arrays()["balance"]["wallet"].tolist()
        [1000050]
        """
        return split_by_kind(self.drain_array())

    def _render(self, records: list[tuple[int, ...]]) -> list[dict[str, Any]]:
        events = []
        for record in records:
            events.append(render_event(record, self))
            if self.client_ids:
                self.forget_dead(record)
        return events

    def drain_rows(self) -> npt.NDArray[np.int64]:
        """Return the same for `engine.packing`, which has the names of dead orders forgotten."""
        if self._undrained or self.core_name != "compiled":
            records, self._undrained = self._undrained + self.core.drain(), []
            return record_rows(records)
        return np.frombuffer(self.core.drain_bytes(), np.int64).reshape(-1, RECORD_WIDTH)

    def discard_events(self) -> int:
        """Forget the events since the last `drain` or `apply`, unread (for loading in bulk).

        Returns
        -------
        int
            How many.
        """
        if self.client_ids:
            return len(self.drain_records())
        count = len(self._undrained) + int(self.core.discard_records())
        self._undrained = []
        self._details.clear()
        return count

    def reserve(self, accounts: int, positions: int) -> None:
        """Make room for so many more accounts and positions; a hint that changes nothing.

        Raises
        ------
        ValueError
            A number below zero, or beyond 2^30.
        """
        self.core.reserve(accounts, positions)

    # --- reads ------------------------------------------------------------------------

    def accounts_array(self) -> npt.NDArray[np.void]:
        """Return the figures of all cross pools as one structured array.

        Returns
        -------
        array, fields as `engine.messages.ACCOUNT_FIELDS`
            One row for each account and settle asset in use, by account, then asset. The
            figures of the `account` query, in minor units; `margin_ratio` in 1e-8 units,
            `RATIO_WORST` where the query says null; `asset` an index into `assets`.

        Notes
        -----
        At the current marks, exact. Complexity: O(accounts + positions), nothing is made in
        Python for each.
        """
        return cast(npt.NDArray[np.void], self.core.accounts_array())

    def positions_array(
        self, symbol: str | None = None, *, with_prices: bool = True
    ) -> npt.NDArray[np.void]:
        """Return all open positions, or those of one symbol, as one structured array.

        Parameters
        ----------
        symbol : str, optional
        with_prices : bool, default True
            Without them `liquidation_price` and `bankruptcy_price` stay 0, and it is faster.

        Returns
        -------
        array, fields as `engine.messages.POSITION_FIELDS`
            By account, symbol, leg (long first). The figures of the `position` query in the
            core's units (lots, minor units, mark ticks; 0 for a price that there is none of).

        Raises
        ------
        KeyError
            No such symbol.

        Notes
        -----
        Complexity: O(accounts + positions); of one symbol O(holders x log holders).
        """
        index = NONE if symbol is None else self._known(symbol).index
        return cast(npt.NDArray[np.void], self.core.positions_array(index, with_prices))

    def liquidation_map(
        self, symbol: str, bucket_ppm: int = 10_000,
        edges: Sequence[DecimalLike] | None = None,
    ) -> npt.NDArray[np.void]:
        """Return what would be liquidated where, if the mark of a symbol went there at once.

        Parameters
        ----------
        symbol : str
        bucket_ppm : int, default 10,000 (1 %)
            Width of a price bucket in millionths of the mark, at least one mark tick.
        edges : sequence of prices, optional
            Ascending; buckets lie between them, what is outside is left out.

        Returns
        -------
        array, fields as `engine.liquidation_map.MAP_FIELDS`
            For each price bucket and side that has a position: notional at the current mark,
            lots and accounts, each position at its own exact liquidation price.

        Raises
        ------
        KeyError
            No such symbol.
        ValueError
            A width that is not positive, edges that do not ascend or are off the mark tick.

        Notes
        -----
        Complexity: O(holders x (log holders + positions of their accounts)).
        """
        instrument = self._known(symbol)
        bounds = None if edges is None else [instrument.mark.units(edge) for edge in edges]
        if bounds is not None and any(bound < 0 for bound in bounds):
            raise ValueError("edges must be multiples of the mark tick, and not below zero")
        mark = self.core.instrument_view(instrument.index)["mark_price"]
        return bucket_sums(self.positions_array(symbol), mark, bucket_ppm, bounds)

    @property
    def seq(self) -> int:
        """Number of the last command."""
        return int(self.core.seq)

    @property
    def ts(self) -> int:
        """Engine time, nanoseconds since the epoch."""
        return int(self.core.ts)

    @property
    def symbols(self) -> list[str]:
        """Symbols in the order of their declaration, which is their index in records."""
        return [instrument.symbol for instrument in self.instruments_by_index]

    @property
    def assets(self) -> list[str]:
        """Assets in the order of their declaration, which is their index in records."""
        return [asset.name for asset in self.assets_by_index]

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument's names and grids.

        Raises
        ------
        KeyError
            No such symbol.
        """
        return self._known(symbol)

    def totals(self) -> Totals:
        """Return the conservation terms of every asset; `drift` is always ``"0"``.

        Examples
        --------
        >>> from engine.embedding import example_exchange
        >>> example_exchange().totals()["assets"]["USDT"]["wallets"]
        '20000'
        """
        return cast(Totals, self._queries.totals())

    def state_hash(self) -> str:
        """Return the hash of the logical state, hex; equal states give equal hashes.

        Notes
        -----
        Covers the core's digest, the names declared and the client order ids of live
        orders; not `seq`, so that a rejected command leaves it as it was.
        Complexity: O(everything).
        """
        self.core.require_idle()
        names = [
            [[asset.name, asset.decimals] for asset in self.assets_by_index],
            [[one.symbol, one.base, one.quote, one.tick.text(1), one.mark.text(1),
              one.lot.text(1), str(one.contract_size)] for one in self.instruments_by_index],
            sorted([*key, entries[-1][1]] for key, entries in self.client_ids.items()
                   if entries[-1][1] is not None and self.core.has_order(*key)),
        ]
        if self.funds_by_index:
            names.append(list(self.funds_by_index))
        digest = hashlib.blake2b(self.core.digest(), digest_size=16)
        digest.update(json.dumps(names, separators=(",", ":")).encode())
        return digest.hexdigest()

    # --- the state as a whole ---------------------------------------------------------

    def snapshot(self) -> bytes:
        """Return all of the state as bytes, for `restore`.

        Returns
        -------
        bytes
            Good for this build of the engine only; docs/formats.md has the layout. Events
            not yet drained are not in it.

        Notes
        -----
        Complexity: O(state), about 1 kB an account. `engine.snapshot.save` writes a file
        without a copy of it in memory.
        """
        return to_bytes(self)

    @classmethod
    def restore(cls, data: Buffer, keep_events: bool = True) -> Exchange:
        """Return the exchange that a snapshot was taken of: same state, same future.

        Parameters
        ----------
        data : bytes-like
            What `snapshot` returned, or the bytes of the file that `engine.snapshot.save` wrote.
        keep_events : bool, default True
            As for a new exchange; a snapshot does not say.

        Raises
        ------
        SnapshotError
            Not a snapshot, damaged, or of another build of the engine.

        Examples
        --------
        >>> exchange = Exchange()
        >>> _ = exchange.apply({"cmd": "asset", "asset": "USDT", "decimals": 6})
        >>> Exchange.restore(exchange.snapshot()).state_hash() == exchange.state_hash()
        True
        """
        return load(lambda core: cls(core, keep_events), data)

    def fork(self) -> Exchange:
        """Return a copy that goes its own way: ask it what would happen if.

        Notes
        -----
        Events not yet drained and subscriptions stay here. Complexity: O(state), one copy of
        memory.

        Examples
        --------
        >>> exchange = Exchange()
        >>> twin = exchange.fork()
        >>> _ = twin.apply({"cmd": "asset", "asset": "USDT", "decimals": 6})
        >>> exchange.assets, twin.assets
        ([], ['USDT'])
        """
        twin = fork(type(self), self)
        twin.keeps_events = self.keeps_events
        return twin

    def index_names(self) -> None:
        """Make the look-up by name agree with the lists by index, which were replaced."""
        self._assets = {asset.name: asset for asset in self.assets_by_index}
        self._instruments = {one.symbol: one for one in self.instruments_by_index}
        self._funds = {
            (asset, self.funds_by_index[number]): number
            for asset, number, _ in self.core.fund_views() if number != NONE}

    def check(self) -> None:
        """Assert the engine's invariants by recomputing everything; for tests and audits."""
        self.core.check()
