"""Where sockets may be and who reaches them: endpoints checked, bound, guarded and explained.

Without keys only this machine is in reach: `tcp` on loopback, or `ipc`, whose socket file is for
its owner alone. With CURVE keys (`engine.keys`), and the caller's word, any `tcp` host.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
from collections.abc import Mapping
from typing import Any

import zmq

from engine.closing import Closing
from engine.errors import InputError
from engine.keys import ClientKeys, ServerKeys
from engine.packing import frames_of

_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5}|\*)")
_LOOPBACK = ("localhost", "[::1]")
#: Length of a socket's file name that every Unix accepts, with its closing zero byte.
IPC_PATH_MAX = 103


def check_endpoint(
    endpoint: str, *, allow_remote: bool = False, has_keys: bool = False
) -> str:
    """Check that an endpoint is well formed and on this machine.

    Parameters
    ----------
    endpoint : str
        `tcp://127.0.0.1:5555`, `tcp://localhost:5555`, `tcp://[::1]:5555` or
        `ipc:///path/of/socket`.
    allow_remote : bool
        Accept any tcp host, if the socket has keys.
    has_keys : bool
        Whether the socket is encrypted and knows its peers by their keys.

    Returns
    -------
    str
        The endpoint.

    Raises
    ------
    InputError
    """
    if endpoint.startswith("ipc://") and len(endpoint) > len("ipc://"):
        if len(os.fsencode(endpoint[6:])) > IPC_PATH_MAX:
            raise InputError(f"endpoint {endpoint}: the path is longer than {IPC_PATH_MAX} bytes")
        return endpoint
    found = _TCP.fullmatch(endpoint)
    if found is None or (found["port"] != "*" and not 0 < int(found["port"]) < 65536):
        raise InputError(f"endpoint {endpoint!r}: expected tcp://127.0.0.1:PORT or ipc://PATH")
    host = found["host"]
    is_local = host in _LOOPBACK or re.fullmatch(r"127(\.[0-9]{1,3}){3}", host) is not None
    if not (is_local or allow_remote):
        raise InputError(f"endpoint {endpoint}: not on loopback; give --allow-remote, and keys")
    if not (is_local or has_keys):
        raise InputError(
            f"endpoint {endpoint}: not on loopback, and without keys open to everybody there")
    return endpoint


def bind_socket(zmq_socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Bind, and say in one line why it cannot be done.

    Parameters
    ----------
    zmq_socket : zmq.Socket
    endpoint : str

    Returns
    -------
    str
        The endpoint bound, with the port chosen where the given one was `*`.

    Raises
    ------
    InputError
    """
    is_file = endpoint.startswith("ipc://")
    if is_file:
        _refuse_taken_path(endpoint)
    elif endpoint.startswith("tcp://["):
        zmq_socket.setsockopt(zmq.IPV6, 1)
    # ZeroMQ binds to interfaces, not to names.
    target = endpoint.replace("//localhost:", "//127.0.0.1:")
    # The mask of the whole process, for a moment: a mode set afterwards would come too late.
    mask = os.umask(0o177) if is_file else None
    try:
        zmq_socket.bind(target)
    except zmq.ZMQError as error:
        raise InputError(f"cannot bind {endpoint}: {_reason(error)}") from None
    finally:
        if mask is not None:
            os.umask(mask)
    return zmq_socket.getsockopt_string(zmq.LAST_ENDPOINT)


class BoundSocket(Closing):
    """A bound socket and the context that it alone uses, closed at the end of a `with`.

    Parameters
    ----------
    kind : int
        Of socket, `zmq.ROUTER` and the like.
    endpoint : str
        To bind.
    options : mapping of int to int
        Set before it is bound. `zmq.LINGER` also says how long what was sent is kept at the end.
    keys : ServerKeys, optional
        Encrypted, and only for those whom they admit.
    domain : str
        What the socket is for: `keys.admits` is asked with it.
    context : zmq.Context, optional
        That nobody else uses; it is ended with the socket.

    Attributes
    ----------
    endpoint : str
        As bound.

    Raises
    ------
    InputError
        It cannot be bound there; nothing stays open.
    """

    def __init__(
        self, kind: int, endpoint: str, options: Mapping[int, int], *,
        keys: ServerKeys | None = None, domain: str = "",
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self._context = zmq.Context() if context is None else context
        self._socket = self._context.socket(kind)
        self._frames = frames_of(self._socket)
        self._guard = None
        for option, value in options.items():
            self._socket.setsockopt(option, value)
        try:
            if keys is not None:
                self._guard = keys.guard(self._context, self._socket, domain)
            self.endpoint = bind_socket(self._socket, endpoint)
        except BaseException:
            self._close(linger=0)
            raise

    def close(self) -> None:
        """Close it; what was sent is kept for as long as its linger says."""
        self._close()

    def _close(self, linger: int | None = None) -> None:
        """Close the socket, its guard and its context; by default with the socket's linger."""
        self._socket.close(linger=linger)
        if self._guard is not None:
            self._guard.stop()
        self._context.term()


def connect_socket(
    zmq_socket: zmq.Socket[Any], endpoint: str, keys: ClientKeys | None = None
) -> None:
    """Connect; the peer need not be there yet.

    Parameters
    ----------
    zmq_socket : zmq.Socket
    endpoint : str
    keys : ClientKeys, optional
        Where the peer asks for them.

    Raises
    ------
    InputError
    """
    if keys is not None:
        keys.unlock(zmq_socket)
    if endpoint.startswith("tcp://["):
        zmq_socket.setsockopt(zmq.IPV6, 1)
    try:
        zmq_socket.connect(endpoint)
    except zmq.ZMQError as error:
        raise InputError(f"cannot connect to {endpoint}: {_reason(error)}") from None


def _refuse_taken_path(endpoint: str) -> None:
    # libzmq removes whatever has the socket's name before it binds: a second
    # publisher would silently take the address away from the first one.
    path = endpoint[6:]
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise InputError(f"cannot bind {endpoint}: a file of this name exists")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) == 0:
            raise InputError(f"cannot bind {endpoint}: address already in use")


def _reason(error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "address already in use"
    # What pyzmq adds to the text is the endpoint, which the line has already.
    return zmq.strerror(error.errno).lower() if error.errno else str(error).lower()


def free_tcp_endpoint() -> str:
    """Return a loopback tcp endpoint that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"
