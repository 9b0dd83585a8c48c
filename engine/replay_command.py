"""`engine replay --in-process`: once or twice, with a page about it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InputError, RunError
from engine.replay import Replay, Rows, Setup, WithBar, replay_in_process

if TYPE_CHECKING:
    from engine import Exchange


def play_in_process(
    plan: Replay, setup: Setup, make: Callable[[], Exchange], speed: float | None,
    with_bar: WithBar, report: Callable[[str], None], *, twice: bool = False,
    page: Path | None = None, crowd: tuple[str, str] | None = None,
) -> Rows:
    """Play a feed into a fresh exchange; return the summary.

    Parameters
    ----------
    make : callable
        Makes an exchange.
    twice : bool
        Play it into a second one, and compare.
    page : Path, optional
        HTML file to write.

    Raises
    ------
    RunError
        The second one came to another state.
    """
    if page is not None:
        if crowd is not None:
            raise InputError("--page is of marks alone, without --crowd")
        from engine.load.page import require_place, require_plotly
        from engine.replay_page import Recorder, write_replay_page

        require_plotly()
        require_place("--page", page)
        recorder = Recorder()
    exchange = make()
    rows = replay_in_process(
        plan, exchange, setup, speed, with_bar, report, crowd=crowd,
        listen=None if page is None else recorder.listen)
    if twice:
        again = replay_in_process(
            plan, make(), setup, speed, with_bar, lambda line: None, crowd=crowd)
        states = [dict(one)["state_hash"] for one in (rows, again)]
        if states[0] != states[1]:
            raise RunError(f"played again, the state hash is {states[1]}, not {states[0]}")
        rows.insert(len(rows) - 2, ("again", "the same state hash a second time"))
    if page is not None:
        command = shlex.join(["engine", *sys.argv[1:]])
        write_replay_page(exchange, recorder, rows, page, command)
    return rows
