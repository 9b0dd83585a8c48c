"""Failures of fixed-point arithmetic, and a window on it for tests."""

from engine.errors import InvariantViolation

from engine.core.fixed cimport high_half, i128, low_half, mul, mul_div_ceil, mul_div_floor
from libc.stdint cimport int64_t, uint64_t


cdef object python_int(i128 value):
    return (int(high_half(value)) << 64) + int(<uint64_t>low_half(value))


cdef int64_t narrow_failed(i128 value) except? -1 with gil:
    raise InvariantViolation(
        f"arithmetic overflow: {python_int(value)} does not fit in 64 bits")


cdef int violated(str what) except -1:
    raise InvariantViolation(what)


def divide(int64_t a, int64_t b, int64_t c):
    """Return (floor, ceil) of a * b / c for c > 0, as the core computes them.

    Raises
    ------
    InvariantViolation
        A quotient does not fit in 64 bits.
    """
    if c <= 0:
        raise ValueError("the divisor must be positive")
    return mul_div_floor(a, b, c), mul_div_ceil(a, b, c)


def product(int64_t a, int64_t b):
    """Return a * b through the 128-bit type, to test its conversion."""
    return python_int(mul(a, b))
