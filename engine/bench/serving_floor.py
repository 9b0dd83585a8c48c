"""What a machine's sockets take by themselves: an echo in the server's place, without an engine."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import zmq

from engine import wire
from engine.bench import serving_peers as peers
from engine.bench.population import draw_population
from engine.bench.serving import ServePlan, Turn, in_processes
from engine.endpoints import free_tcp_endpoint

#: `Turn.fsync` of the echo.
FLOOR = "none"
_BEAT_MS = 50


def run_floor(plan: ServePlan, progress: Callable[[str], None]) -> Turn:
    """Send the marks of the plan through an echo, between the same publisher and listener."""
    turn = Turn(FLOOR)
    progress(f"an echo: {plan.rate:,} messages a second for {plan.seconds:g} s")
    context = multiprocessing.get_context("spawn")
    count = int(plan.rate * plan.seconds)
    marks = draw_population(1, plan.symbols).symbols.marks.tolist()
    job = peers.MarkJob(
        free_tcp_endpoint(), count, plan.rate, marks, free_tcp_endpoint(), is_echo=True)
    ready = context.Barrier(2)
    (turn.late, first_ns), (numbers, times, _), cpu_ns = in_processes(
        context, _run, [("publish", job, ready), ("listen", job, ready), ("echo", job, ready)])
    turn.mark_cpu_us = cpu_ns / 1000 / count
    turn.mark_latencies = times - (first_ns + (numbers - 1) * 1_000_000_000 // plan.rate)
    if not np.array_equal(np.sort(numbers), np.arange(1, count + 1)):
        turn.failures.append(f"echo: {count} messages were sent, {len(numbers)} came")
    return turn


def _run(role: str, job: peers.MarkJob, ready: Any) -> Any:
    return _echo(job) if role == "echo" else peers.run_peer(role, job, ready)


def _echo(job: peers.MarkJob) -> int:
    """Send whatever comes, as pyzmq has it; return the CPU time that it took, ns."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    source, sink = context.socket(zmq.SUB), context.socket(zmq.XPUB)
    try:
        for each in (source, sink):
            each.setsockopt(zmq.RCVHWM, 0)
            each.setsockopt(zmq.SNDHWM, 0)
        source.setsockopt(zmq.SUBSCRIBE, wire.MARKS)
        sink.bind(job.events)
        source.connect(job.feed)
        while not source.poll(_BEAT_MS):  # until the listener is there
            sink.send_multipart(wire.make_frames(wire.HEARTBEAT, 1, b""))
        began = time.process_time_ns()
        for _ in range(job.count):
            _, sequence, payload = source.recv_multipart()
            sink.send_multipart([wire.EVENTS, sequence, payload])
        return time.process_time_ns() - began
    finally:
        for each in (source, sink):
            each.close(linger=1000)
        context.term()
