"""A proxy between a publisher and its listeners that loses messages, by seed."""

from __future__ import annotations

import random
import threading

import zmq


class DroppingProxy:
    """Forwards subscriptions up and messages down, but for those that it drops.

    Parameters
    ----------
    source, endpoint : str
        Of the publisher; and where listeners connect to.
    seed : int
    share : float
        Of all messages, heartbeats included, that are dropped while `is_dropping`.
    """

    def __init__(self, source: str, endpoint: str, seed: int, share: float) -> None:
        self.dropped = 0
        self.passed = 0
        self.is_dropping = False
        self._random = random.Random(seed)
        self._share = share
        self._context = zmq.Context()
        self._above = self._context.socket(zmq.XSUB)
        self._above.setsockopt(zmq.RECONNECT_IVL, 20)
        self._above.connect(source)
        self._below = self._context.socket(zmq.XPUB)
        self._below.bind(endpoint)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._above, zmq.POLLIN)
        poller.register(self._below, zmq.POLLIN)
        left = 0
        while not self._is_over.is_set():
            ready = dict(poller.poll(50))
            if self._below in ready:
                self._above.send(self._below.recv())
            if self._above not in ready:
                continue
            frames = self._above.recv_multipart()
            if self.is_dropping and left == 0 and self._random.random() < self._share:
                left = self._random.choice((1, 1, 2, 20))  # one, or a range
            if left and self.is_dropping:
                left -= 1
                self.dropped += 1
            else:
                self.passed += 1
                self._below.send_multipart(frames)

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(10)
        self._above.close(linger=0)
        self._below.close(linger=0)
        self._context.term()
