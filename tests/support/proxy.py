"""A network between two processes that can be cut."""

from __future__ import annotations

import select
import socket
import threading

from engine.endpoints import free_tcp_endpoint


class Proxy:
    """Passes on what arrives at its endpoint to another one, and back, unless it is cut.

    Parameters
    ----------
    target : str
        A tcp endpoint on this machine.
    """

    def __init__(self, target: str) -> None:
        self.endpoint = free_tcp_endpoint()
        self.is_cut = False
        self._target = int(target.rsplit(":", 1)[1])
        self._listener = socket.create_server(("127.0.0.1", int(self.endpoint.rsplit(":", 1)[1])))
        self._others: dict[socket.socket, socket.socket] = {}
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over:
            ready, _, _ = select.select([self._listener, *self._others], [], [], 0.02)
            if self.is_cut:
                continue  # what arrives stays where it is, as on a line that is dead
            for one in ready:
                if one is self._listener:
                    self._accept()
                elif one in self._others:
                    self._pass_on(one)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._target), 1)
        except OSError:
            near.close()
            return
        self._others |= {near: far, far: near}

    def _pass_on(self, one: socket.socket) -> None:
        try:
            data = one.recv(1 << 16)
            self._others[one].sendall(data)
        except OSError:
            data = b""
        if not data:
            other = self._others.pop(one)
            del self._others[other]
            one.close()
            other.close()

    def close(self) -> None:
        """End it."""
        self._is_over = True
        self._thread.join(5)
        for each in (self._listener, *self._others):
            each.close()
