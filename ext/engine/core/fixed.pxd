# Fixed-point arithmetic: 128-bit intermediates, and a named rounding for each division.
#
# Cython does not know __int128. `i128` is declared to it as a 64-bit typedef so that C
# expressions come out right, but a conversion to a Python object would be cut to 64
# bits, and Cython's own overflow checks would be wrong. So everything that multiplies,
# divides or converts an i128 is a C function here; elsewhere i128 is only added,
# subtracted, compared and passed on.

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #ifndef ENGINE_FIXED
    #define ENGINE_FIXED
    typedef __int128 engine_i128;
    static inline engine_i128 engine_mul(int64_t a, int64_t b) { return (engine_i128)a * b; }
    static inline engine_i128 engine_mulw(engine_i128 a, int64_t b) { return a * b; }
    static inline engine_i128 engine_add(engine_i128 a, engine_i128 b) { return a + b; }
    static inline engine_i128 engine_sub(engine_i128 a, engine_i128 b) { return a - b; }
    static inline engine_i128 engine_neg(engine_i128 a) { return -a; }
    static inline engine_i128 engine_wide(int64_t a) { return a; }
    static inline int64_t engine_low(engine_i128 a) { return (int64_t)a; }
    static inline int64_t engine_high(engine_i128 a) { return (int64_t)(a >> 64); }
    static inline engine_i128 engine_shift(engine_i128 a, int n) { return a >> n; }
    static inline int engine_fits(engine_i128 a) {
        return __builtin_expect(a == (int64_t)a, 1);
    }
    static inline int engine_fit(engine_i128 a, engine_i128 b) {
        return __builtin_expect(a == (int64_t)a && b == (int64_t)b, 1);
    }
    static inline int engine_cmp(engine_i128 a, engine_i128 b) { return (a > b) - (a < b); }
    static inline int engine_sign(engine_i128 a) { return (a > 0) - (a < 0); }
    /* The divisor is positive in both. A 64-bit dividend takes the fast instruction. */
    static inline engine_i128 engine_floor(engine_i128 a, engine_i128 b) {
        engine_i128 q;
        if (engine_fit(a, b)) {
            int64_t x = (int64_t)a, y = (int64_t)b, r = x / y;
            return r - ((x % y) < 0);
        }
        q = a / b;
        return q - ((a % b) < 0);
    }
    static inline engine_i128 engine_ceil(engine_i128 a, engine_i128 b) {
        if (engine_fit(a, b)) {
            int64_t x = (int64_t)a, y = (int64_t)b;
            return x / y + ((x % y) > 0);
        }
        return -engine_floor(-a, b);
    }
    /* Nonzero where the sum or the difference leaves 64 bits. */
    static inline int engine_add64(int64_t a, int64_t b, int64_t *out) {
        return __builtin_expect(__builtin_add_overflow(a, b, out), 0);
    }
    static inline int engine_sub64(int64_t a, int64_t b, int64_t *out) {
        return __builtin_expect(__builtin_sub_overflow(a, b, out), 0);
    }
    /* ceil(a * b / c); nonzero where a * b leaves 64 bits. */
    static inline int engine_scale_up(int64_t a, int64_t b, int64_t c, int64_t *out) {
        int64_t ab;
        if (__builtin_expect(__builtin_mul_overflow(a, b, &ab), 0)) return 1;
        *out = ab / c + ((ab % c) > 0);
        return 0;
    }
    /* a * b * c; nonzero where that (or, with factors beyond it, a * b) leaves 64 bits. */
    static inline int engine_product(int64_t a, int64_t b, int64_t c, int64_t *out) {
        int64_t ab;
        return __builtin_expect(
            __builtin_mul_overflow(a, b, &ab) || __builtin_mul_overflow(ab, c, out), 0);
    }
    static inline int engine_bits(engine_i128 a) {
        uint64_t high;
        if (a < 0) a = -a;
        high = (uint64_t)(a >> 64);
        if (high) return 128 - __builtin_clzll(high);
        return (uint64_t)a ? 64 - __builtin_clzll((uint64_t)a) : 0;
    }
    /* a * b / d, floor (up: ceil), at most 2^62; a, b >= 0, d > 0, a and d under 2^126. Where
       the product is too wide it is multiplied and divided bit by bit. */
    static inline int64_t engine_scaled(engine_i128 a, int64_t b, engine_i128 d, int up) {
        const unsigned __int128 most = (unsigned __int128)1 << 62;
        unsigned __int128 whole, part = (unsigned __int128)a % d, quotient = 0, rest = 0;
        int bit;
        if (engine_bits(a) + engine_bits(b) < 128) {
            quotient = (unsigned __int128)a * b / d;
            rest = (unsigned __int128)a * b % d;
        } else {
            whole = (unsigned __int128)a / d;
            if (whole && engine_bits(whole) + engine_bits(b) > 64) return (int64_t)most;
            for (bit = 62; bit >= 0; bit--) {
                rest = 2 * rest + (b >> bit & 1 ? part : 0);  /* under 3 d */
                quotient *= 2;
                while (rest >= (unsigned __int128)d) {
                    rest -= d;
                    quotient++;
                }
            }
            quotient += whole * b;
        }
        quotient += up && rest;
        return (int64_t)(quotient < most ? quotient : most);
    }
    static inline int64_t engine_scaled_down(engine_i128 a, int64_t b, engine_i128 d) {
        return engine_scaled(a, b, d, 0);
    }
    static inline int64_t engine_scaled_up(engine_i128 a, int64_t b, engine_i128 d) {
        return engine_scaled(a, b, d, 1);
    }
    #endif
    """
    ctypedef long long i128 "engine_i128"
    i128 wide "engine_wide"(int64_t a) noexcept nogil
    i128 mul "engine_mul"(int64_t a, int64_t b) noexcept nogil            # a * b, exact
    i128 mul_wide "engine_mulw"(i128 a, int64_t b) noexcept nogil         # exact under 2**127
    i128 add "engine_add"(i128 a, i128 b) noexcept nogil
    i128 sub "engine_sub"(i128 a, i128 b) noexcept nogil
    i128 neg "engine_neg"(i128 a) noexcept nogil
    i128 shift_right "engine_shift"(i128 a, int n) noexcept nogil
    i128 floor_div "engine_floor"(i128 a, i128 b) noexcept nogil          # toward -inf, b > 0
    i128 ceil_div "engine_ceil"(i128 a, i128 b) noexcept nogil            # toward +inf, b > 0
    int compare "engine_cmp"(i128 a, i128 b) noexcept nogil               # -1, 0, 1
    int sign_of "engine_sign"(i128 a) noexcept nogil                      # -1, 0, 1
    int bit_length "engine_bits"(i128 a) noexcept nogil                   # of |a|
    # a * b / c, at most 2**62; the product may be wider than 128 bits.
    int64_t scaled_down "engine_scaled_down"(i128 a, int64_t b, i128 c) noexcept nogil
    int64_t scaled_up "engine_scaled_up"(i128 a, int64_t b, i128 c) noexcept nogil
    int fits_int64 "engine_fits"(i128 a) noexcept nogil
    bint overflows "engine_product"(int64_t a, int64_t b, int64_t c, int64_t *out) noexcept nogil
    bint too_wide "engine_scale_up"(
        int64_t a, int64_t b, int64_t c, int64_t *out) noexcept nogil
    bint sum_overflows "engine_add64"(int64_t a, int64_t b, int64_t *out) noexcept nogil
    bint difference_overflows "engine_sub64"(int64_t a, int64_t b, int64_t *out) noexcept nogil
    int64_t low_half "engine_low"(i128 a) noexcept nogil
    int64_t high_half "engine_high"(i128 a) noexcept nogil


cdef int64_t narrow_failed(i128 value) except? -1 nogil

cdef object python_int(i128 value)


# An i128 as int64; a value that does not fit is an error that names it, never a wrap.
cdef inline int64_t narrow(i128 value) except? -1 nogil:
    if fits_int64(value):
        return low_half(value)
    return narrow_failed(value)


# a * b * c, exact under 2**127; most fit in 64 bits on the way.
cdef inline int64_t mul3(int64_t a, int64_t b, int64_t c) except? -1 nogil:
    cdef int64_t out
    if overflows(a, b, c, &out):
        return narrow(mul_wide(mul(a, b), c))
    return out


# The same where it may be too much for 64 bits.
cdef inline i128 mul3_wide(int64_t a, int64_t b, int64_t c) noexcept nogil:
    cdef int64_t out
    return mul_wide(mul(a, b), c) if overflows(a, b, c, &out) else wide(out)


cdef inline int64_t min64(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef inline int64_t max64(int64_t a, int64_t b) noexcept nogil:
    return a if a > b else b


cdef inline int64_t abs64(int64_t a) noexcept nogil:
    return a if a >= 0 else -a


# floor(a * b / c) and ceil(a * b / c), c > 0.
cdef inline int64_t mul_div_floor(int64_t a, int64_t b, int64_t c) except? -1 nogil:
    return narrow(floor_div(mul(a, b), wide(c)))


cdef inline int64_t mul_div_ceil(int64_t a, int64_t b, int64_t c) except? -1 nogil:
    cdef int64_t out
    if too_wide(a, b, c, &out):
        return narrow(ceil_div(mul(a, b), wide(c)))
    return out


# a + b and a - b that refuse to wrap.
cdef inline int64_t add_checked(int64_t a, int64_t b) except? -1 nogil:
    cdef int64_t out
    if sum_overflows(a, b, &out):
        return narrow_failed(add(wide(a), wide(b)))
    return out


cdef inline int64_t sub_checked(int64_t a, int64_t b) except? -1 nogil:
    cdef int64_t out
    if difference_overflows(a, b, &out):
        return narrow_failed(sub(wide(a), wide(b)))
    return out


# An invariant that stays on in release builds.
cdef int violated(str what) except -1
