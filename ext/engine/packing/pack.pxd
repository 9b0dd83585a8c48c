# MessagePack into a growing buffer, byte for byte what the library makes of the same values.

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy

cdef extern from *:
    """
    #ifndef ENGINE_PACK
    #define ENGINE_PACK
    /* digits / 10^decimals as the shortest decimal text, written so that it ends before `end`;
       its length. */
    static inline int engine_decimal(char *end, int64_t digits, int decimals) {
        char *at = end;
        uint64_t rest = digits < 0 ? 0 - (uint64_t)digits : (uint64_t)digits;
        while (decimals > 0 && rest % 10 == 0) { rest /= 10; decimals--; }
        if (decimals > 0) {
            for (; decimals > 0; decimals--) { *--at = (char)('0' + rest % 10); rest /= 10; }
            *--at = '.';
        }
        do { *--at = (char)('0' + rest % 10); rest /= 10; } while (rest);
        if (digits < 0) *--at = '-';
        return (int)(end - at);
    }
    static inline int engine_times(int64_t a, int64_t b, int64_t *out) {
        return __builtin_mul_overflow(a, b, out);
    }
    #endif
    """
    int decimal_text "engine_decimal"(char *end, int64_t digits, int decimals) noexcept
    # Nonzero where the product does not fit.
    int times "engine_times"(int64_t a, int64_t b, int64_t *out) noexcept

cdef enum:
    HEAD_BYTES = 9               # of the longest integer or head
    DECIMALS_MAX = 60
    TEXT_BYTES = 96              # of the longest decimal text with so many decimals

# Bytes that are being written; who owns one frees `data`.
cdef struct buffer_t:
    uint8_t *data
    Py_ssize_t size              # written
    Py_ssize_t capacity

# Room for so many more bytes.
cdef inline int reserve(buffer_t *out, Py_ssize_t more) except -1:
    cdef Py_ssize_t capacity
    cdef void *data
    if out.size + more <= out.capacity:
        return 0
    capacity = max(4096, 2 * out.capacity, out.size + more)
    data = realloc(out.data, capacity)
    if data == NULL:
        raise MemoryError()
    out.data = <uint8_t *>data
    out.capacity = capacity
    return 0

cdef inline int put_raw(buffer_t *out, const char *data, Py_ssize_t size) except -1:
    reserve(out, size)
    memcpy(out.data + out.size, data, size)
    out.size += size
    return 0

cdef inline int put_bytes(buffer_t *out, bytes data) except -1:
    return put_raw(out, data, len(data))

# One byte; there is room for it.
cdef inline void put_byte(buffer_t *out, int value) noexcept:
    out.data[out.size] = <uint8_t>value
    out.size += 1

# A head and so many bytes of a number, the highest first; there is room for them.
cdef inline void put_wide(buffer_t *out, int head, uint64_t value, int count) noexcept:
    cdef int at
    put_byte(out, head)
    for at in range(count - 1, -1, -1):
        put_byte(out, <int>(value >> (8 * at) & 0xFF))

cdef inline int put_int(buffer_t *out, int64_t value) except -1:
    cdef uint64_t bits = <uint64_t>value
    reserve(out, HEAD_BYTES)
    if value >= 0:
        if value < 0x80:
            put_byte(out, <int>value)
        elif value <= 0xFF:
            put_wide(out, 0xCC, bits, 1)
        elif value <= 0xFFFF:
            put_wide(out, 0xCD, bits, 2)
        elif value >> 32 == 0:
            put_wide(out, 0xCE, bits, 4)
        else:
            put_wide(out, 0xCF, bits, 8)
    elif value >= -0x20:
        put_byte(out, <int>(bits & 0xFF))
    elif value >= -0x80:
        put_wide(out, 0xD0, bits, 1)
    elif value >= -0x8000:
        put_wide(out, 0xD1, bits, 2)
    elif value >> 31 == -1:
        put_wide(out, 0xD2, bits, 4)
    else:
        put_wide(out, 0xD3, bits, 8)
    return 0

cdef inline int put_nil(buffer_t *out) except -1:
    reserve(out, 1)
    put_byte(out, 0xC0)
    return 0

cdef inline int put_bool(buffer_t *out, bint value) except -1:
    reserve(out, 1)
    put_byte(out, 0xC3 if value else 0xC2)
    return 0

cdef inline int put_map_head(buffer_t *out, Py_ssize_t count) except -1:
    reserve(out, HEAD_BYTES)
    if count < 16:
        put_byte(out, 0x80 | <int>count)
    else:
        put_wide(out, 0xDE, <uint64_t>count, 2)
    return 0

cdef inline int put_array_head(buffer_t *out, Py_ssize_t count) except -1:
    reserve(out, HEAD_BYTES)
    if count < 16:
        put_byte(out, 0x90 | <int>count)
    elif count <= 0xFFFF:
        put_wide(out, 0xDC, <uint64_t>count, 2)
    else:
        put_wide(out, 0xDD, <uint64_t>count, 4)
    return 0

# digits / 10^decimals as a string; no more decimals than DECIMALS_MAX.
cdef inline int put_decimal(buffer_t *out, int64_t digits, int decimals) except -1:
    cdef char text[TEXT_BYTES]
    cdef int size = decimal_text(text + TEXT_BYTES, digits, decimals)
    reserve(out, 2 + size)
    if size < 32:
        put_byte(out, 0xA0 | size)
    else:
        put_byte(out, 0xD9)
        put_byte(out, size)
    memcpy(out.data + out.size, text + TEXT_BYTES - size, size)
    out.size += size
    return 0
