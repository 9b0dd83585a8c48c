"""`engine promote`: tell a standby to take over, and wait until it serves."""

from __future__ import annotations

import zmq

from engine.endpoints import connect_socket
from engine.errors import RunError
from engine.keys import ClientKeys
from engine.replication import messages


def promote(
    endpoint: str, timeout_s: float, keys: ClientKeys | None = None
) -> list[tuple[str, str]]:
    """Tell a standby to take over.

    Parameters
    ----------
    endpoint : str
        Its replication socket.
    timeout_s : float
    keys : ClientKeys, optional
        Where the standby asks for them.

    Returns
    -------
    list of (str, str)
        Term, epoch and seq with which it serves now.

    Raises
    ------
    RunError
        It is the primary already, or there was no answer.
    """
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        connect_socket(socket, endpoint, keys)
        socket.send_multipart([messages.PROMOTE, b""])
        if not socket.poll(int(timeout_s * 1000)):
            raise RunError(f"{endpoint}: no answer for {timeout_s:g} s")
        frames = socket.recv_multipart()
    try:
        kind, payload = frames
        if kind == messages.REFUSED:
            raise RunError(f"{endpoint}: {messages.decode_refused(payload)[1]}")
        term, epoch, seq = messages.decode_numbers(payload, 3)
    except ValueError as error:
        raise RunError(f"{endpoint}: no standby's answer: {error}") from None
    return [("term", str(term)), ("epoch", str(epoch)), ("seq", str(seq))]
