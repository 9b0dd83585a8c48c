"""Images of a core's state: what a snapshot is written from, and a fork is made of."""

import marshal

from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory

from engine.core.memory cimport use_huge_pages
from engine.core.tables cimport slot_t

# A written image: this, the layout's name, the number of sections; then each section as size
# of a row, number of rows, rows, padded to a multiple of eight bytes. Native byte order.
cdef bytes MAGIC = b"PERPIMG1"

cdef enum:
    NAME = 32                    # bytes of a layout's name
    HEAD = 48                    # 8 + NAME + 8
    PIECE = 65536                # rows of fewer bytes are collected before they are written

# Version of `marshal` for the few dictionaries: the last without references between objects.
cdef int MARSHAL = 2


cdef int64_t padded(int64_t size) noexcept:
    return (size + 7) & ~<int64_t>7


cdef class Image:
    """Sections of one state, in the order in which they were noted."""

    def __cinit__(self):
        self.kept = []

    def __dealloc__(self):
        free(self.sections)

    cdef int note(self, const void *at, int64_t size, int64_t count) except -1:
        cdef section_t *sections
        cdef int32_t room
        if self.count == self.capacity:
            room = max(256, 2 * self.capacity)
            sections = <section_t *>realloc(self.sections, room * sizeof(section_t))
            if sections == NULL:
                raise MemoryError("an image's sections")
            self.sections, self.capacity = sections, room
        self.sections[self.count].at = <const char *>at
        self.sections[self.count].size = size
        self.sections[self.count].count = count
        self.count += 1
        return 0

    # The next section, which must have rows of that size.
    cdef const section_t *take(self, int64_t size) except NULL:
        cdef const section_t *section
        if self.next_section == self.count:
            raise ValueError("the snapshot ends too early")
        section = &self.sections[self.next_section]
        if section.size != size:
            raise ValueError(
                f"section {self.next_section} of the snapshot has rows of {section.size} "
                f"bytes, not {size}")
        self.next_section += 1
        return section

    # --- what a walk over the state calls ---------------------------------------------

    # A number that lies nowhere: a count, a flag. Returns the one that is in force.
    cdef int64_t number(self, int64_t value) except? -1:
        cdef bytes held
        if self.is_loading:
            memcpy(&value, self.take(sizeof(int64_t)).at, sizeof(int64_t))
        else:
            held = PyBytes_FromStringAndSize(<char *>&value, sizeof(int64_t))
            self.kept.append(held)
            self.note(PyBytes_AS_STRING(held), sizeof(int64_t), 1)
        return value

    # A few bytes that lie in the core itself.
    cdef int scalar(self, void *at, int64_t size) except -1:
        if self.is_loading:
            memcpy(at, self.take(size).at, size)
            return 0
        return self.note(at, size, 1)

    # A Python value of ints, tuples, lists and dictionaries. Returns the one in force.
    cdef object value(self, object value):
        cdef bytes held
        cdef const section_t *section
        if self.is_loading:
            section = self.take(1)
            return marshal.loads(PyBytes_FromStringAndSize(section.at, section.count))
        held = marshal.dumps(value, MARSHAL)
        self.kept.append(held)
        self.note(PyBytes_AS_STRING(held), 1, len(held))
        return value

    # An array that its owner grows by `realloc`. While loading, the old one is freed.
    cdef int rows(self, void **at, int32_t *count, int32_t *capacity, size_t size) except -1:
        cdef const section_t *section
        cdef void *fresh
        if not self.is_loading:
            return self.note(at[0], size, count[0])
        section = self.take(size)
        fresh = NULL
        if section.count:
            fresh = malloc(section.count * size)
            if fresh == NULL:
                raise MemoryError("the engine's tables")
            use_huge_pages(fresh, section.count * size)
            memcpy(fresh, section.at, section.count * size)
        free(at[0])
        at[0] = fresh
        count[0] = <int32_t>section.count
        if capacity != NULL:
            capacity[0] = count[0]
        return 0

    cdef int table(self, table_t *table) except -1:
        cdef int32_t slots = <int32_t>table.capacity
        self.rows(<void **>&table.slots, &slots, NULL, sizeof(slot_t))
        table.capacity = slots
        self.scalar(&table.limit, sizeof(table.limit))
        return self.scalar(&table.count, sizeof(table.count))

    # --- images in memory and in files ------------------------------------------------

    # From now on the image is read, from its first section.
    cdef int rewind(self) except -1:
        self.is_loading = True
        self.next_section = 0
        return 0

    def write(self, write, bytes layout):
        """Hand the image to a function, piece by piece.

        Parameters
        ----------
        write : callable
            Called with each piece, bytes or a memoryview that is valid during the call.
        layout : bytes
            32 bytes that name the build.
        """
        cdef int64_t head[2]
        cdef int64_t bytes_of, number = self.count
        cdef int32_t i
        cdef bytearray piece = bytearray(MAGIC + layout)
        piece += PyMemoryView_FromMemory(<char *>&number, sizeof(int64_t), PyBUF_READ)
        for i in range(self.count):
            head[0], head[1] = self.sections[i].size, self.sections[i].count
            piece += PyMemoryView_FromMemory(<char *>head, sizeof(head), PyBUF_READ)
            bytes_of = head[0] * head[1]
            if bytes_of >= PIECE:
                write(bytes(piece))
                piece.clear()
                write(PyMemoryView_FromMemory(<char *>self.sections[i].at, bytes_of, PyBUF_READ))
            elif bytes_of:
                piece += PyMemoryView_FromMemory(
                    <char *>self.sections[i].at, bytes_of, PyBUF_READ)
            piece += bytes(padded(bytes_of) - bytes_of)
            if len(piece) >= PIECE:
                write(bytes(piece))
                piece.clear()
        write(bytes(piece))

    @staticmethod
    def read(const unsigned char[::1] data not None, bytes layout):
        """Return the image that was written, ready to be loaded; it keeps `data` alive.

        Raises
        ------
        ValueError
            Not a snapshot, one of another build, or not all of it.
        """
        cdef Image image = Image()
        cdef const char *at = <const char *>&data[0] if data.shape[0] else NULL
        cdef int64_t left = data.shape[0], number = 0, size
        cdef int64_t head[2]
        if left < HEAD or memcmp(at, PyBytes_AS_STRING(MAGIC), 8) != 0:
            raise ValueError("not a snapshot")
        if memcmp(at + 8, PyBytes_AS_STRING(layout), NAME) != 0:
            raise ValueError("the snapshot is of another build of the engine")
        memcpy(&number, at + 8 + NAME, sizeof(int64_t))
        at, left = at + HEAD, left - HEAD
        while image.count < number:
            if left < <int64_t>sizeof(head):
                raise ValueError("the snapshot ends too early")
            memcpy(head, at, sizeof(head))
            at, left = at + sizeof(head), left - <int64_t>sizeof(head)
            if head[0] <= 0 or head[1] < 0 or head[1] > left // head[0]:
                raise ValueError(f"section {image.count} of the snapshot is damaged")
            image.note(at, head[0], head[1])
            size = padded(head[0] * head[1])
            at, left = at + size, left - size
        if left != 0:
            raise ValueError("the snapshot has more bytes than sections")
        image.kept.append(data)
        image.rewind()
        return image
