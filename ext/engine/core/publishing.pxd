# Market data: what the public may know of a book, order by order, in a buffer of its own
# beside the events. It is no part of the state: switching it on or off changes no event and
# no digest.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t

from engine.core.audit cimport Audit

# One message. The layout is public: docs/formats.md, engine/marketdata/packed.py.
cdef struct message_t:
    int64_t market_seq           # 1, 2, 3, ... of the symbol, without a gap
    int64_t seq, ts              # of the command
    int64_t ref                  # the order's arrival number
    int64_t price                # ticks
    int64_t quantity             # lots the order now displays, 0: it is gone
    int64_t change               # lots by which its level changes
    int64_t trade_id
    int64_t traded               # lots
    int64_t trade_price          # ticks
    int32_t symbol
    uint8_t kind                 # MarketKind
    uint8_t side                 # Side
    uint16_t detail              # TradeFlag bits of an execution, HaltMode of a status

cdef class Publishing(Audit):
    cdef message_t *messages
    cdef Py_ssize_t message_count, message_capacity

    cdef message_t *next_message(self, int32_t symbol, int kind) except NULL nogil
    cdef message_t *order_message(
        self, int32_t row, int kind, int64_t before, int64_t after) except NULL nogil
