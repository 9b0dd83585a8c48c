# Growth of arrays: one owner each, half as large again when full, freed where it was made.

from libc.stdint cimport int32_t

# Ask for huge pages where an array is large and the system has them: rows are found in any
# order, and what a table lookup then costs is mostly address translation. Only a hint.
cdef extern from *:
    """
    #include <stdint.h>
    #ifdef __linux__
    #include <sys/mman.h>
    #endif
    static inline void engine_use_huge_pages(void *at, size_t bytes) {
    #ifdef MADV_HUGEPAGE
        const uintptr_t page = 1u << 21;
        uintptr_t first = ((uintptr_t)at + page - 1) & ~(page - 1);
        uintptr_t last = ((uintptr_t)at + bytes) & ~(page - 1);
        if (bytes >= 4 * page && last > first) {
            madvise((void *)first, last - first, MADV_HUGEPAGE);
        }
    #else
        (void)at; (void)bytes;
    #endif
    }
    """
    void use_huge_pages "engine_use_huge_pages"(void *at, size_t size) noexcept nogil

cdef extern from *:
    """
    #define engine_prefetch(at) __builtin_prefetch(at)
    """
    # A hint: memory that will be read soon.
    void prefetch "engine_prefetch"(const void *at) noexcept nogil

cdef void *larger(void *rows, int32_t *capacity, int32_t wanted, size_t size) except NULL nogil
