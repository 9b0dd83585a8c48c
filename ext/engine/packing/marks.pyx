"""Payloads of `marks.` to packed commands, where nothing about them is out of the ordinary.

Whatever is (another version, a step of several marks, an unknown symbol, a price that is none or
a very long one) is left to `engine.wire` and `engine.driver`, which say what is wrong, or know
better. What is read here is what they would make of it as well.
"""

from engine.feeds.steps import is_symbol
from engine.messages import COMMAND_COLUMNS, MONEY_MAX as LARGEST, NONE as ABSENT, Command
from engine.wire import VERSION

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from engine.packing.pack cimport times

cdef enum:
    COLUMNS = 12
    ROW_BYTES = 96               # of a packed command
    DIGITS_MAX = 18              # of a price

cdef int64_t NONE = ABSENT
cdef int64_t MARK = Command.MARK
cdef int64_t MONEY_MAX = LARGEST
cdef int64_t HALF_RANGE = 2**61
cdef int KNOWN_VERSION = VERSION


cdef class _Symbol:
    """What it takes to make a packed mark of a symbol."""

    cdef object name
    cdef int64_t index
    cdef int64_t above, below    # of the mark tick, as a fraction

    def __cinit__(self, instrument):
        step = instrument.mark.step
        self.name, self.index = instrument.symbol, instrument.index
        self.above, self.below = step.numerator, step.denominator


# What is left of a payload.
cdef struct reader_t:
    const uint8_t *at
    const uint8_t *end


# A number that is not negative, -1 where none is next.
cdef int64_t next_number(reader_t *payload) noexcept:
    cdef uint64_t value = 0
    cdef int head
    cdef int size
    cdef int at
    if payload.at == payload.end:
        return -1
    head = payload.at[0]
    payload.at += 1
    if head < 0x80:
        return head
    if not 0xCC <= head <= 0xCF:
        return -1
    size = 1 << (head - 0xCC)
    if payload.end - payload.at < size:
        return -1
    for at in range(size):
        value = value << 8 | payload.at[at]
    payload.at += size
    return -1 if value >> 63 else <int64_t>value


# How many elements the array has that is next, -1 where none is.
cdef Py_ssize_t next_array(reader_t *payload) noexcept:
    cdef Py_ssize_t count
    cdef int head
    if payload.at == payload.end:
        return -1
    head = payload.at[0]
    payload.at += 1
    if head & 0xF0 == 0x90:
        return head & 0x0F
    if head != 0xDC or payload.end - payload.at < 2:
        return -1
    count = payload.at[0] << 8 | payload.at[1]
    payload.at += 2
    return count


# Length of the short string that is next, which the payload is moved to; -1 where none is.
cdef Py_ssize_t next_text(reader_t *payload) noexcept:
    cdef Py_ssize_t size
    if payload.at == payload.end or payload.at[0] & 0xE0 != 0xA0:
        return -1
    size = payload.at[0] & 0x1F
    payload.at += 1
    return size if payload.end - payload.at >= size else -1


# A price in mark ticks, rounded to the nearest, ties to even, one at least; 0 where it is none.
cdef int64_t ticks_of(const uint8_t *text, Py_ssize_t size, _Symbol symbol) noexcept:
    cdef int64_t digits = 0
    cdef int64_t scale = 1
    cdef int64_t units, rest, above, below
    cdef Py_ssize_t at
    cdef Py_ssize_t point = -1
    if size < 1 or size > DIGITS_MAX or text[0] == 46 or text[size - 1] == 46:
        return 0
    for at in range(size):
        if text[at] == 46:
            if point >= 0:
                return 0
            point = at
        elif 48 <= text[at] <= 57:
            digits = 10 * digits + (text[at] - 48)
            if point >= 0:
                scale *= 10
        else:
            return 0
    if digits == 0 or times(digits, symbol.below, &above) or times(scale, symbol.above, &below):
        return 0
    if below > HALF_RANGE:
        return 0
    units = above // below
    rest = above - units * below
    if 2 * rest > below or (2 * rest == below and units & 1):
        units += 1
    return 0 if units > MONEY_MAX else max(1, units)


cdef inline void put_column(uint8_t *row, int column, int64_t value) noexcept:
    cdef uint64_t bits = <uint64_t>value
    cdef int at
    for at in range(8):
        row[8 * column + at] = <uint8_t>(bits >> (8 * at))


cdef class MarkReader:
    """Makes packed `mark` commands of `marks.` messages.

    Parameters
    ----------
    instruments : iterable of Instrument
        Those that the exchange has; another reader is needed where there are more.
    has_time : bool
        Whether the feed's time goes into the commands.
    """

    cdef dict symbols
    cdef bint has_time

    def __init__(self, instruments, has_time):
        self.has_time = has_time
        self.symbols = {}
        for each in instruments:
            step = each.mark.step
            if is_symbol(each.symbol) and max(step.numerator, step.denominator) < 2**62:
                self.symbols[each.symbol.encode()] = _Symbol(each)

    def read(self, bytes payload):
        """Read the payload of a message.

        Parameters
        ----------
        payload : bytes

        Returns
        -------
        (int, int, list of str, bytes) or None
            Epoch, number of the first step, symbol of each step, packed commands; None where the
            message is to be read by `engine.wire.decode_marks`.
        """
        cdef reader_t left
        cdef int64_t epoch, first
        cdef Py_ssize_t count, at
        cdef bytes rows
        cdef list names = []
        left.at = <const uint8_t *>PyBytes_AS_STRING(payload)
        left.end = left.at + PyBytes_GET_SIZE(payload)
        if next_array(&left) != 4 or next_number(&left) != KNOWN_VERSION:
            return None
        epoch = next_number(&left)
        first = next_number(&left)
        count = next_array(&left)
        if epoch < 0 or not 0 < first <= HALF_RANGE or count <= 0:
            return None
        rows = PyBytes_FromStringAndSize(NULL, count * ROW_BYTES)
        for at in range(count):
            name = self.read_step(
                &left, <uint8_t *>PyBytes_AS_STRING(rows) + at * ROW_BYTES, first + at)
            if name is None:
                return None
            names.append(name)
        return (epoch, first, names, rows) if left.at == left.end else None

    # The symbol of the step that is next, and its packed command; None where it is not simple.
    cdef object read_step(self, reader_t *left, uint8_t *row, int64_t number):
        cdef _Symbol symbol
        cdef int64_t ts, mark
        cdef int64_t index = NONE
        cdef Py_ssize_t size
        cdef int column
        if next_array(left) != 2:
            return None
        ts = next_number(left)
        if ts < 0 or next_array(left) != 1 or next_array(left) != 3:
            return None
        size = next_text(left)
        if size < 0:
            return None
        symbol = self.symbols.get((<const char *>left.at)[:size])
        if symbol is None:
            return None
        left.at += size
        mark = self.read_price(left, symbol)
        if mark <= 0 or left.at == left.end:
            return None
        if left.at[0] == 0xC0:
            left.at += 1
        else:
            index = self.read_price(left, symbol)
            if index <= 0:
                return None
        for column in range(COLUMNS):
            put_column(row, column, NONE)
        put_column(row, 0, MARK)
        put_column(row, 1, ts if self.has_time else NONE)
        put_column(row, 3, symbol.index)
        put_column(row, 4, number)
        put_column(row, 7, index)
        put_column(row, 8, mark)
        put_column(row, 10, 0)
        return symbol.name

    cdef int64_t read_price(self, reader_t *left, _Symbol symbol) noexcept:
        cdef Py_ssize_t size = next_text(left)
        cdef int64_t ticks
        if size < 0:
            return 0
        ticks = ticks_of(left.at, size, symbol)
        left.at += size
        return ticks


@cython.overflowcheck(False)  # sums wrap around
def sum_rows(bytes rows, list factors):
    """Return a number for each packed command that tells it from another one, as bytes of uint32.

    Parameters
    ----------
    rows : bytes
        Without special terms.
    factors : list of int
        One a column, odd; `engine.serving.packed` says what is done with them.
    """
    cdef uint64_t weights[COLUMNS]
    cdef const uint8_t *row = <const uint8_t *>PyBytes_AS_STRING(rows)
    cdef Py_ssize_t count = PyBytes_GET_SIZE(rows) // ROW_BYTES
    cdef bytes sums = PyBytes_FromStringAndSize(NULL, 4 * count)
    cdef uint32_t *out = <uint32_t *>PyBytes_AS_STRING(sums)
    cdef uint64_t total, word
    cdef Py_ssize_t number
    cdef int column, at
    for column in range(COLUMNS):
        weights[column] = factors[column]
    for number in range(count):
        total = 0
        for column in range(COLUMNS):
            word = 0
            for at in range(7, -1, -1):
                word = word << 8 | row[8 * column + at]
            if column < COLUMNS - 1:
                total += (word ^ word >> 31) * weights[column]
            elif word != <uint64_t>NONE:
                total += weights[column]  # terms that are not there
        out[number] = <uint32_t>(total >> 32 ^ total)
        row += ROW_BYTES
    return sums


assert len(COMMAND_COLUMNS) == COLUMNS
