"""Publishers of marks that say what a test wants, and lose it on the way if it wants that."""

from __future__ import annotations

import random
import threading
import time

import zmq

from engine import wire
from engine.resend import ResendSocket


class Publisher:
    """An XPUB socket with the protocol of `engine replay`, one step a message.

    With `resend` it sends steps again there, from a thread. With `dice`, messages are dropped,
    doubled, delayed and so reordered, by chance.
    """

    def __init__(
        self, endpoint: str, epoch: int = 1, dice: random.Random | None = None,
        resend: str | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.epoch = epoch
        self.number = 0
        self.sent: list[int] = []
        self._dice = dice
        self._resend = None if resend is None else ResendSocket(resend, epoch)
        self._is_closing = threading.Event()
        self._answering = threading.Thread(target=self._answer, daemon=True)
        if self._resend is not None:
            self._answering.start()
        self._held: list[list[bytes]] = []
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._socket.bind(endpoint)

    def wait(self) -> Publisher:
        """Until somebody has subscribed to the marks, which come last."""
        while True:
            assert self._socket.poll(20_000)
            if self._socket.recv() == b"\x01" + wire.MARKS:
                return self

    def say(self, ts_ns: int, **prices: str) -> None:
        """Publish a step."""
        self.number += 1
        step = (ts_ns, [(symbol, price, None) for symbol, price in prices.items()])
        if self._resend is not None:
            self._resend.keep([step])
        self._send(wire.make_frames(
            wire.MARKS, self.number, wire.encode_marks(self.epoch, self.number, [step])))

    def _send(self, frames: list[bytes]) -> None:
        dice = self._dice
        fate = "pass" if dice is None else dice.choices(
            ("pass", "drop", "double", "hold"), (12, 1, 1, 2))[0]
        if fate == "hold":
            self._held.append(frames)
            return
        copies = {"pass": 1, "double": 2, "drop": 0}[fate]
        for _ in range(copies):
            self._socket.send_multipart(frames)
        if self._held and dice is not None and dice.random() < 0.5:
            self._socket.send_multipart(self._held.pop(dice.randrange(len(self._held))))

    def beat(self) -> None:
        """Say how far it is."""
        self._socket.send_multipart(wire.make_frames(
            wire.HEARTBEAT, 1, wire.encode_heartbeat(self.epoch, {wire.MARKS: self.number})))

    def end(self) -> None:
        """Say that there is no more."""
        self._socket.send_multipart(wire.make_frames(wire.END, 1, wire.encode_end(
            self.epoch, {wire.MARKS: self.number}, self.number, self.number)))

    def _answer(self) -> None:
        assert self._resend is not None
        with self._resend:
            while not self._is_closing.is_set():
                self._resend.answer(10)

    def restart(self) -> None:
        """Another epoch, numbers from 1; the socket stays."""
        self.epoch, self.number = self.epoch + 1, 0

    def close(self) -> None:
        self._is_closing.set()
        if self._answering.is_alive():
            self._answering.join(5)
        self._socket.close(linger=0)
        self._context.term()


def until(is_so, limit_s: float = 15.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, is_so
        time.sleep(0.005)
