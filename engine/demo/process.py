"""The publisher of the demo: `engine replay` as a second process, ended whatever happens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from engine.closing import Closing
from engine.endpoints import IPC_PATH_MAX, free_tcp_endpoint
from engine.errors import RunError

_STOP_S = 5.0


class ReplayProcess(Closing):
    """Runs `engine replay` on an endpoint of its own.

    Parameters
    ----------
    arguments : sequence of str
        Of `engine replay`, without `--bind`.

    Attributes
    ----------
    endpoint : str
        A socket file in a fresh directory, or loopback tcp where that does not fit.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="engine-demo-"))
        path = str(self._folder / "marks")
        fits = os.name == "posix" and len(os.fsencode(path)) <= IPC_PATH_MAX
        self.endpoint = f"ipc://{path}" if fits else free_tcp_endpoint()
        self._errors = self._folder / "stderr"
        command = [sys.executable, "-m", "engine", "replay", *arguments, "--bind", self.endpoint]
        try:
            with open(self._errors, "wb") as errors:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
                )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def close(self) -> None:
        """End the process if it runs, and remove its folder."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Process id of the publisher."""
        return self._process.pid

    def require_alive(self) -> None:
        """Raise if the process has ended with an error, with the last line it said.

        Raises
        ------
        RunError
        """
        code = self._process.poll()
        if code:
            said = self._errors.read_text(errors="replace").strip().splitlines()
            raise RunError(f"the publisher ended with code {code}: {said[-1] if said else '-'}")
