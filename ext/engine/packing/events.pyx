"""Event records to the payloads of `events.`: rendered and encoded in one go.

The bytes are those that `engine.render.render_event` and MessagePack would make, which is what
`engine.packing.plain` does, event by event. What is seldom and intricate is left to them here too.
"""

import msgpack

from engine.messages import (
    EVENT_ACCOUNTS, EVENT_LAYOUTS, NONE as ABSENT, RECORD_WIDTH, EventKind,
)
from engine.render import (
    ALWAYS_OPEN, OF_SYMBOL_TO_CLOSE, OF_VALUE, code_name, entry_price, fund_name, margin_ratio,
    plan_of, render_event,
)
from engine.wire import VERSION

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t
from libc.stdlib cimport free

from engine.packing.pack cimport (
    DECIMALS_MAX, buffer_t, put_array_head, put_bool, put_bytes, put_decimal, put_int,
    put_map_head, put_nil, put_raw, times,
)

cdef enum:
    HEAD = 4                     # kind, seq, ts, cause
    FIELDS_MAX = 16
    KINDS_MAX = 64

cdef int64_t NONE = ABSENT
cdef Py_ssize_t WIDTH = RECORD_WIDTH

# What a field is written as.
cdef enum:
    AS_INT
    AS_BOOL
    AS_RATE
    AS_ASSET
    AS_AMOUNT
    AS_SYMBOL
    AS_PRICE
    AS_MARK
    AS_LOTS
    AS_FUND
    AS_NAME

_UNITS = {
    "int": AS_INT, "bool": AS_BOOL, "rate": AS_RATE, "asset": AS_ASSET, "amount": AS_AMOUNT,
    "money": AS_AMOUNT, "symbol": AS_SYMBOL, "price": AS_PRICE, "mark": AS_MARK,
    "lots": AS_LOTS, "fund": AS_FUND,
}
_DEAD = (EventKind.ORDER_CANCELED, EventKind.ORDER_EXPIRED, EventKind.ORDER_UPDATE)

cdef struct field_t:
    int at                       # in the record
    int unit
    int relation                 # whose grids apply, as `engine.render` has it


cdef class _GridText:
    """A grid, with what it takes to write its multiples without it."""

    cdef object grid
    cdef int64_t factor          # 0: only the grid itself can
    cdef int decimals

    def __cinit__(self, grid):
        factor = grid.step * 10**grid.decimals
        self.grid = grid
        self.decimals = grid.decimals if grid.decimals <= DECIMALS_MAX else 0
        self.factor = int(factor) if factor < 2**62 and grid.decimals <= DECIMALS_MAX else 0

    cdef int put(self, buffer_t *out, int64_t units) except -1:
        cdef int64_t digits
        if self.factor == 0 or times(units, self.factor, &digits):
            return put_bytes(out, msgpack.packb(self.grid.text(units)))
        return put_decimal(out, digits, self.decimals)


cdef class _AssetText:
    """An asset's name, encoded, and its grid."""

    cdef object source
    cdef bytes name
    cdef _GridText minor

    def __cinit__(self, asset):
        self.source = asset
        self.name = msgpack.packb(asset.name)
        self.minor = _GridText(asset.minor)


cdef class _InstrumentText:
    """An instrument's name, encoded, and its grids."""

    cdef object source
    cdef bytes symbol
    cdef _GridText tick
    cdef _GridText mark
    cdef _GridText lot
    cdef _AssetText settle

    def __cinit__(self, instrument):
        self.source = instrument
        self.symbol = msgpack.packb(instrument.symbol)
        self.tick = _GridText(instrument.tick)
        self.mark = _GridText(instrument.mark)
        self.lot = _GridText(instrument.lot)
        self.settle = _AssetText(instrument.settle)


cdef class _Kind:
    """How the events of one kind are written."""

    cdef int width               # of the record
    cdef int count               # of fields
    cdef field_t fields[FIELDS_MAX]
    cdef list names              # of the fields, encoded
    cdef list codes              # of each field that is a code: by number, the name encoded
    cdef list enums
    cdef bytes label             # "event" and the kind
    cdef int symbol_at, asset_at, to_close_at, value_asset_at
    cdef int account_at, order_at, equity_at, maintenance_at, quantity_at, value_at
    cdef bint is_rendered        # left to `render_event`
    cdef bint is_always_open
    cdef bint has_ratio
    cdef bint is_position
    cdef bint may_be_dead
    cdef tuple accounts          # places of those that it names

    def __cinit__(self, kind):
        plan = plan_of(kind)
        places = {name: at for at, (name, _) in enumerate(EVENT_LAYOUTS[kind], start=HEAD)}
        self.width = HEAD + len(EVENT_LAYOUTS[kind])
        self.is_rendered = kind in (EventKind.REJECTED, EventKind.MARGIN_CALL_LEVELS_SET)
        self.is_always_open = kind in ALWAYS_OPEN
        self.is_position = kind == EventKind.POSITION
        self.may_be_dead = kind in _DEAD
        self.has_ratio = "maintenance_margin" in places
        self.label = b"".join(map(msgpack.packb, ("event", plan.name)))
        self.symbol_at, self.asset_at = plan.symbol_at, plan.asset_at
        self.to_close_at, self.value_asset_at = plan.to_close_at, plan.value_asset_at
        self.account_at, self.order_at = places.get("account", 0), places.get("order_id", 0)
        self.equity_at = places.get("equity", 0)
        self.maintenance_at = places.get("maintenance_margin", 0)
        self.quantity_at = places.get("quantity", 0)
        self.value_at = places.get("entry_value", 0)
        self.accounts = tuple(places[name] for name in EVENT_ACCOUNTS if name in places)
        self.names, self.codes, self.enums = [], [], []
        self.count = 0
        if not self.is_rendered:
            self.add_fields(plan.fields)

    cdef int add_fields(self, tuple fields) except -1:
        for at, name, unit, relation in fields:
            self.names.append(msgpack.packb(name))
            self.codes.append({})
            self.enums.append(unit)
            self.fields[self.count].at = at
            self.fields[self.count].unit = _UNITS.get(unit, AS_NAME)
            self.fields[self.count].relation = relation
            self.count += 1
        return 0


cdef class EventPacker:
    """Makes the payloads of `events.` from the records of an exchange's core.

    Parameters
    ----------
    exchange : engine.Exchange
        Whose records they are: it has the names and grids.
    """

    cdef object exchange
    cdef list kinds
    cdef list assets
    cdef list instruments
    cdef buffer_t out
    cdef int of_value, of_symbol_to_close

    def __init__(self, exchange):
        self.exchange = exchange
        self.kinds = [None] * KINDS_MAX
        self.assets, self.instruments = [], []
        self.of_value, self.of_symbol_to_close = OF_VALUE, OF_SYMBOL_TO_CLOSE

    def __dealloc__(self):
        free(self.out.data)

    def pack(self, const int64_t[:, ::1] rows, int64_t epoch, ts=None, accounts=()):
        """Return the events of each command as a payload.

        Parameters
        ----------
        rows : buffer of int64, shape (n, `engine.messages.RECORD_WIDTH`)
            Of `Exchange.drain_rows`, in order.
        epoch : int
        ts : int, optional
            Engine time after the commands. Default: that of each command's last event.
        accounts : container of int, optional
            Whose events are wanted by themselves as well.

        Returns
        -------
        list of (int, bytes, dict)
            For each command how many events it had, its payload, and by account that of those
            that name it.

        Raises
        ------
        ValueError
            Rows of another width.
        """
        cdef Py_ssize_t count = rows.shape[0]
        cdef Py_ssize_t begin = 0
        cdef Py_ssize_t end
        cdef int64_t after
        cdef list messages = []
        if count and rows.shape[1] != WIDTH:
            raise ValueError(f"rows must have {WIDTH} columns, not {rows.shape[1]}")
        while begin < count:
            end = begin + 1
            while end < count and rows[end, 1] == rows[begin, 1]:
                end += 1
            after = rows[end - 1, 2] if ts is None else ts
            messages.append(self.message(&rows[begin, 0], end - begin, epoch, after, accounts))
            begin = end
        return messages

    cdef tuple message(
        self, const int64_t *first, Py_ssize_t count, int64_t epoch, int64_t ts, object accounts
    ):
        cdef Py_ssize_t at, begin
        cdef const int64_t *row
        cdef dict own = {}
        self.out.size = 0
        self.put_head(epoch, first[1], ts, count)
        for at in range(count):
            row = first + at * WIDTH
            begin = self.out.size
            self.put_event(row)
            if accounts:
                self.note_accounts(row, begin, accounts, own)
        payload = PyBytes_FromStringAndSize(<const char *>self.out.data, self.out.size)
        for account, parts in own.items():
            self.out.size = 0
            self.put_head(epoch, first[1], ts, len(parts))
            for part in parts:
                put_bytes(&self.out, payload[part])
            own[account] = PyBytes_FromStringAndSize(<const char *>self.out.data, self.out.size)
        return count, payload, own

    cdef int put_head(self, int64_t epoch, int64_t seq, int64_t ts, Py_ssize_t count) except -1:
        put_array_head(&self.out, 5)
        put_int(&self.out, VERSION)
        put_int(&self.out, epoch)
        put_int(&self.out, seq)
        put_int(&self.out, ts)
        put_array_head(&self.out, count)
        return 0

    cdef int note_accounts(
        self, const int64_t *row, Py_ssize_t begin, object accounts, dict own
    ) except -1:
        cdef _Kind kind = self.kind_of(row[0])
        for account in {row[<int>at] for at in kind.accounts}:
            if account in accounts:
                own.setdefault(account, []).append(slice(begin, self.out.size))
        return 0

    cdef _Kind kind_of(self, int64_t number):
        cdef _Kind kind
        if not 0 <= number < KINDS_MAX:
            raise ValueError(f"no kind of event: {number}")
        kind = self.kinds[number]
        if kind is None:
            kind = self.kinds[number] = _Kind(EventKind(number))
        return kind

    cdef _InstrumentText instrument_of(self, int64_t index):
        cdef list known = self.exchange.instruments_by_index
        cdef _InstrumentText found
        if not 0 <= index < len(known):
            return None
        while len(self.instruments) <= index:
            self.instruments.append(None)
        found = self.instruments[index]
        if found is None or found.source is not known[index]:
            found = self.instruments[index] = _InstrumentText(known[index])
        return found

    cdef _AssetText asset_of(self, int64_t index):
        cdef list known = self.exchange.assets_by_index
        cdef _AssetText found
        if not 0 <= index < len(known):
            return None
        while len(self.assets) <= index:
            self.assets.append(None)
        found = self.assets[index]
        if found is None or found.source is not known[index]:
            found = self.assets[index] = _AssetText(known[index])
        return found

    cdef int put_event(self, const int64_t *row) except -1:
        cdef _Kind kind = self.kind_of(row[0])
        cdef _InstrumentText instrument = None
        cdef _AssetText asset = None
        cdef bint is_named = bool(self.exchange.client_ids)
        cdef object client_id = None
        cdef int at
        if kind.is_rendered:
            return put_bytes(
                &self.out, msgpack.packb(render_event(self.record(row, kind), self.exchange)))
        if kind.symbol_at:
            instrument = self.instrument_of(row[kind.symbol_at])
        if kind.asset_at:
            asset = self.asset_of(row[kind.asset_at])
        if asset is None and instrument is not None:
            asset = instrument.settle
        if is_named and kind.order_at:
            client_id = self.exchange.client_order_id(
                row[kind.account_at], row[kind.order_at], row[1])
        put_map_head(&self.out, HEAD + kind.count + kind.has_ratio + (client_id is not None) + (
            kind.is_position and instrument is not None))
        put_raw(&self.out, b"\xa3seq", 4)
        put_int(&self.out, row[1])
        put_raw(&self.out, b"\xa2ts", 3)
        put_int(&self.out, row[2])
        put_bytes(&self.out, kind.label)
        for at in range(kind.count):
            put_bytes(&self.out, kind.names[at])
            self.put_field(row, kind, at, instrument, asset)
        self.put_derived(row, kind, instrument)
        if client_id is not None:
            put_raw(&self.out, b"\xafclient_order_id", 16)
            put_bytes(&self.out, msgpack.packb(client_id))
        put_raw(&self.out, b"\xa5cause", 6)
        put_int(&self.out, row[3])
        if is_named and kind.may_be_dead:
            self.exchange.forget_dead(self.record(row, kind))
        return 0

    cdef tuple record(self, const int64_t *row, _Kind kind):
        cdef int at
        return tuple([row[at] for at in range(kind.width)])

    cdef int put_field(
        self, const int64_t *row, _Kind kind, int number, _InstrumentText instrument,
        _AssetText asset,
    ) except -1:
        cdef field_t *field = &kind.fields[number]
        cdef int64_t value = row[field.at]
        cdef int unit = field.unit
        if value == NONE:
            return put_nil(&self.out)
        if unit == AS_INT:
            return put_int(&self.out, value)
        if unit == AS_BOOL:
            return put_bool(&self.out, value != 0)
        if unit == AS_RATE:
            return put_decimal(&self.out, value, 8)
        if unit == AS_NAME:
            return put_bytes(&self.out, self.name_of(kind, number, value))
        if unit == AS_FUND:
            return put_bytes(&self.out, msgpack.packb(fund_name(value, self.exchange)))
        if unit == AS_ASSET or unit == AS_AMOUNT:
            if field.relation == self.of_value:
                asset = self.asset_of(row[kind.value_asset_at])
            if asset is None:
                return put_nil(&self.out)
            if unit == AS_ASSET:
                return put_bytes(&self.out, asset.name)
            return asset.minor.put(&self.out, value)
        if field.relation == self.of_symbol_to_close:
            instrument = self.instrument_of(row[kind.to_close_at])
        if instrument is None:
            return put_nil(&self.out)
        if unit == AS_SYMBOL:
            return put_bytes(&self.out, instrument.symbol)
        if unit == AS_PRICE:
            return instrument.tick.put(&self.out, value)
        if unit == AS_MARK:
            return instrument.mark.put(&self.out, value)
        return instrument.lot.put(&self.out, value)

    cdef bytes name_of(self, _Kind kind, int number, int64_t value):
        cdef dict names = kind.codes[number]
        found = names.get(value)
        if found is None:
            found = names[value] = msgpack.packb(code_name(kind.enums[number], value))
        return found

    cdef int put_derived(
        self, const int64_t *row, _Kind kind, _InstrumentText instrument
    ) except -1:
        cdef int64_t maintenance
        if kind.has_ratio:
            maintenance = row[kind.maintenance_at]
            put_raw(&self.out, b"\xacmargin_ratio", 13)
            put_bytes(&self.out, msgpack.packb(margin_ratio(
                row[kind.equity_at], maintenance,
                is_open=maintenance > 0 or kind.is_always_open)))
        if kind.is_position and instrument is not None:
            put_raw(&self.out, b"\xabentry_price", 12)
            put_bytes(&self.out, msgpack.packb(entry_price(
                instrument.source, row[kind.quantity_at], row[kind.value_at])))
        return 0
