"""The code blocks of README.md and docs/, and a shell that runs them as a reader would.

What a block is for is told by its language, by its neighbours, or by a comment right above it,
which readers do not see:

`<!-- not run: why -->`      Left out. The options of its `engine` commands are checked all
                             the same.
`<!-- slow: why -->`         Run with the slow tests only.
`<!-- saved as: NAME -->`    A file, there before any block of the page runs; README's are there for
                             every page.
`<!-- first: COMMAND -->`    Run before the block, unseen by readers.
`<!-- checked by: FILE -->`  A test file that reads the block from the page.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]

NOTE = re.compile(r"<!-- (not run|slow|saved as|first|checked by): ((?:(?!-->).)+?) -->\s*$", re.S)
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
#: What differs between runs: how long something took, and what is made of the time of day.
VARYING = [
    (re.compile(r"^(elapsed_s|cpu_s|times_real_time|\w+_per_second) .*", re.M), r"\1"),
    (re.compile(r"\bafter \d+\.\d+ s\b"), "after # s"),
    (re.compile(r"\bepoch(\s+)\d+"), r"epoch\1#"),
]
LOCAL = re.compile(r"tcp://(?:127\.0\.0\.1|10\.0\.0\.5):(\d+)")
COMMAND_S = 300.0


class Block(NamedTuple):
    """One fenced block: where it is, its language, its text, its notes, and the prose above."""

    page: Path
    line: int
    language: str
    text: str
    notes: dict[str, str]
    before: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Commands of a console block, each with the output below it."""
        parts = re.split(r"^(?:\w*)\$ ", self.text, flags=re.M)[1:]
        return [(part[: end_of_command(part)], part[end_of_command(part):]) for part in parts]


def end_of_command(text: str) -> int:
    """Return where a command ends: after its continuation lines, or its here-document."""
    document = re.match(r".*<<'(\w+)'\n(?:.*\n)*?\1\n", text)
    plain = re.match(r"(?:.*\\\n)*.*\n?", text)
    assert plain is not None
    return (document or plain).end()


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    text, found, end = page.read_text("utf-8"), [], 0
    for fence in FENCE.finditer(text):
        before, notes = text[end : fence.start()].strip(), {}
        while note := NOTE.search(before):
            notes[note[1]] = " ".join(note[2].split())
            before = before[: note.start()].strip()
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(page, line, fence[1], fence[2], notes, before))
        end = fence.end()
    return found


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


class Session:
    """A shell in a folder, which runs commands one after the other and keeps their outputs.

    Ports of this machine are replaced by free ones, also where a command has them by default.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports: dict[str, int] = {}
        self._private = tempfile.TemporaryDirectory(prefix="eng")
        self._out = Path(self._private.name) / "out"
        self._jobs = Path(self._private.name) / "jobs"
        self._errors = Path(self._private.name) / "errors"
        self._seen = 0
        feed = self.mapped("tcp://127.0.0.1:5555")
        with self._out.open("w") as out, self._errors.open("w") as errors:
            self._shell = subprocess.Popen(
                ["bash", "--noprofile", "--norc"], cwd=folder, stdin=subprocess.PIPE, stdout=out,
                stderr=errors, text=True, env=os.environ | {
                    "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PY": sys.executable,
                    "FEED": feed})
        self._send(PRELUDE)

    def mapped(self, text: str) -> str:
        """Return a text with ports that are free here."""
        return LOCAL.sub(
            lambda found: "tcp://127.0.0.1:"
            f"{self._ports[found[1]] if found[1] in self._ports else self._new_port(found[1])}",
            text)

    def _new_port(self, port: str) -> int:
        return self._ports.setdefault(port, free_port())

    def _send(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(text)
        self._shell.stdin.flush()

    def run(self, command: str, expected_lines: int = 0) -> tuple[str, str]:
        """Run a command; return its output, and what went wrong.

        A command that goes on in the background is done when it has printed as many lines as
        are expected.
        """
        mark = f"---- {time.monotonic_ns()}"
        is_background = command.rstrip().endswith("&")
        self._send(f"{self.mapped(command).rstrip()}\n__status=$?; jobs -p > {self._jobs}\n")
        deadline = time.monotonic() + COMMAND_S
        if is_background:
            while self._text().count("\n") < expected_lines and time.monotonic() < deadline:
                time.sleep(0.02)
        self._send(f"echo '{mark}' $__status\n")
        while mark not in (text := self._text()):
            if self._shell.poll() is not None or time.monotonic() > deadline:
                return text, f"no end after {COMMAND_S:.0f} s: {self._errors.read_text()}"
            time.sleep(0.02)
        output, _, status = text.partition(mark)
        self._seen += len((output + mark + status.partition("\n")[0]).encode()) + 1
        failed = "" if status.split()[0] == "0" else self._errors.read_text() or "it failed"
        return output, failed

    def _text(self) -> str:
        return self._out.read_bytes()[self._seen:].decode()

    def close(self) -> None:
        """End the shell, and what it left running."""
        self._shell.terminate()
        for group in self._jobs.read_text().split() if self._jobs.exists() else []:
            try:
                os.killpg(int(group), 9)
            except ProcessLookupError:
                pass
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.kill()
        self._shell.wait()
        self._private.cleanup()


#: `engine` is what is tested here; a feed without an endpoint gets one that is free. Each job in
#: the background is a process group, as in a terminal.
PRELUDE = """\
set -m -o pipefail
engine() {
  case " $* " in
    *" --in-process "* | *" --bind "* | *" --marks "* | *" --journal "*) ;;
    " replay "*) set -- "$@" --bind "$FEED" ;;
    " serve "*) set -- "$@" --marks "$FEED" ;;
  esac
  "$PY" -m engine "$@" 2>&1
}
python() { "$PY" "$@" 2>&1; }
"""


def steady(text: str) -> str:
    """Return an output without what differs between runs."""
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return text.rstrip("\n")
