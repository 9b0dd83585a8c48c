"""Messages of a few frames through libzmq itself: fewer calls of Python, the same messages.

libzmq is the one that pyzmq has loaded; its functions are looked up there, and nothing is linked.
"""

import ctypes
import errno

import zmq
import zmq.backend.cython._zmq as loaded

from time import monotonic_ns

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.stdlib cimport free, realloc

cdef extern from "poll.h" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int wait_for "poll"(pollfd *files, unsigned long count, int timeout_ms)
    enum:
        FILE_READY "POLLIN"

cdef enum:
    SEQUENCE_BYTES = 8

# A zmq_msg_t of zmq.h: 64 bytes, aligned as a pointer.
cdef struct message_t:
    void *aligned[8]

ctypedef int (*message_call)(message_t *) noexcept
ctypedef void *(*data_call)(message_t *) noexcept
ctypedef size_t (*size_call)(message_t *) noexcept
ctypedef int (*receive_call)(message_t *, void *, int) noexcept
ctypedef int (*send_call)(void *, const void *, size_t, int) noexcept
ctypedef int (*option_call)(void *, int, void *, size_t *) noexcept
ctypedef int (*number_call)() noexcept

cdef message_call start_message, close_message, has_more
cdef data_call data_of
cdef size_call size_of
cdef receive_call receive_message
cdef send_call send_frame
cdef option_call read_option
cdef number_call last_error


cdef uintptr_t address_of(library, str name) except 0:
    return <uintptr_t>ctypes.cast(getattr(library, name), ctypes.c_void_p).value


cdef int look_up() except -1:
    global start_message, close_message, has_more, data_of, size_of, receive_message
    global send_frame, read_option, last_error
    try:
        library = ctypes.CDLL(loaded.__file__)
        start_message = <message_call>address_of(library, "zmq_msg_init")
        close_message = <message_call>address_of(library, "zmq_msg_close")
        has_more = <message_call>address_of(library, "zmq_msg_more")
        data_of = <data_call>address_of(library, "zmq_msg_data")
        size_of = <size_call>address_of(library, "zmq_msg_size")
        receive_message = <receive_call>address_of(library, "zmq_msg_recv")
        send_frame = <send_call>address_of(library, "zmq_send")
        read_option = <option_call>address_of(library, "zmq_getsockopt")
        last_error = <number_call>address_of(library, "zmq_errno")
    except (AttributeError, OSError) as error:
        raise ImportError(f"the functions of libzmq are not to be found: {error}") from None
    return 0


look_up()

cdef int DONTWAIT = zmq.DONTWAIT
cdef int SNDMORE = zmq.SNDMORE
cdef int EVENTS = zmq.EVENTS
cdef int POLLIN = zmq.POLLIN
cdef int EAGAIN = zmq.EAGAIN
cdef int EINTR = errno.EINTR


# A call failed: the same again if that was a signal, an exception otherwise.
cdef int require_interrupted() except -1:
    if last_error() != EINTR:
        raise zmq.ZMQError(last_error())
    return 0


cdef bint is_ready(void *handle) except -1:
    cdef int events = 0
    cdef size_t size = sizeof(events)
    while read_option(handle, EVENTS, &events, &size) < 0:
        require_interrupted()
    return events & POLLIN != 0


cdef class Frames:
    """Reads and writes a socket; who owns it closes it, and nobody uses this afterwards.

    Parameters
    ----------
    socket : zmq.Socket
    """

    cdef object socket
    cdef void *handle

    def __init__(self, socket):
        self.socket = socket
        self.handle = <void *><uintptr_t>socket.underlying

    def has_news(self):
        """Tell whether a message waits to be received."""
        self.require_open()
        return is_ready(self.handle)

    def receive(self, int limit):
        """Return the frames of the messages that are there, so many at most, without waiting."""
        cdef list messages = []
        self.require_open()
        while len(messages) < limit:
            frames = self.next_message()
            if frames is None:
                break
            messages.append(frames)
        return messages

    cdef list next_message(self):
        cdef message_t message
        cdef list frames = []
        cdef int more = 1
        while more:
            start_message(&message)
            while receive_message(&message, self.handle, DONTWAIT) < 0:
                if last_error() == EAGAIN:
                    close_message(&message)
                    return None
                require_interrupted()
            try:
                frames.append(PyBytes_FromStringAndSize(
                    <const char *>data_of(&message), <Py_ssize_t>size_of(&message)))
                more = has_more(&message)
            finally:
                close_message(&message)
        return frames

    def send(self, bytes topic, uint64_t sequence, bytes payload):
        """Send the three frames of a published message."""
        cdef unsigned char number[SEQUENCE_BYTES]
        cdef int at
        for at in range(SEQUENCE_BYTES):
            number[at] = <unsigned char>(sequence >> (8 * (SEQUENCE_BYTES - 1 - at)) & 0xFF)
        self.require_open()
        self.send_one(PyBytes_AS_STRING(topic), PyBytes_GET_SIZE(topic), SNDMORE)
        self.send_one(<const char *>number, SEQUENCE_BYTES, SNDMORE)
        self.send_one(PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), 0)

    cdef int send_one(self, const char *data, Py_ssize_t size, int flags) except -1:
        while send_frame(self.handle, data, <size_t>size, flags) < 0:
            require_interrupted()
        return 0

    cdef int require_open(self) except -1:
        if self.socket.closed:
            raise zmq.ZMQError(zmq.ENOTSOCK)
        return 0


cdef class Poller:
    """Waits until a socket or a file has something to be read, like `zmq.Poller`.

    A socket that has is found without a call of the system; files are looked at where none has.
    """

    cdef list waited             # sockets, or numbers of files
    cdef void **handles
    cdef pollfd *files

    def __cinit__(self):
        self.waited = []

    def __dealloc__(self):
        free(self.handles)
        free(self.files)

    def register(self, one, int flags):
        """Wait for a socket, or the number of a file, from now on; flags are `zmq.POLLIN`."""
        cdef Py_ssize_t at = len(self.waited)
        if flags != POLLIN:
            raise ValueError("only to be read")
        self.make_room(at + 1)
        is_file = isinstance(one, int)
        self.handles[at] = NULL if is_file else <void *><uintptr_t>one.underlying
        self.files[at].fd = one if is_file else one.getsockopt(zmq.FD)
        self.files[at].events = FILE_READY
        self.waited.append(one)

    cdef int make_room(self, size_t count) except -1:
        cdef void *handles = realloc(self.handles, count * sizeof(self.handles[0]))
        if handles == NULL:
            raise MemoryError()
        self.handles = <void **>handles
        cdef void *files = realloc(self.files, count * sizeof(self.files[0]))
        if files == NULL:
            raise MemoryError()
        self.files = <pollfd *>files
        return 0

    def unregister(self, one):
        """Do not wait for a socket any more."""
        cdef list others = [each for each in self.waited if each is not one]
        if len(others) == len(self.waited):
            raise KeyError(one)
        self.waited = []
        for each in others:
            self.register(each, POLLIN)

    def poll(self, int timeout_ms):
        """Return what has something to be read, once anything has; nothing after a while.

        A signal ends the waiting early.
        """
        cdef int count = <int>len(self.waited)
        cdef int done = 0
        cdef int64_t deadline
        cdef list ready = self.ready_sockets()
        if ready:
            return ready
        deadline = monotonic_ns() + 1_000_000 * <int64_t>timeout_ms
        while True:
            with nogil:
                done = wait_for(self.files, count, timeout_ms)
            if done <= 0:
                return []
            ready = self.ready_sockets()
            ready += [
                (self.waited[at], POLLIN) for at in range(count)
                if self.handles[at] == NULL and self.files[at].revents]
            timeout_ms = <int>max(0, (deadline - monotonic_ns()) // 1_000_000)
            # What is written to a socket's file may be about something else than a message.
            if ready:
                return ready

    cdef list ready_sockets(self):
        cdef Py_ssize_t at
        cdef list ready = []
        for at in range(len(self.waited)):
            if self.handles[at] != NULL and is_ready(self.handles[at]):
                ready.append((self.waited[at], POLLIN))
        return ready
