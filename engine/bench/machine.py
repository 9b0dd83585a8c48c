"""Where a benchmark ran: what has to stand beside its numbers."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path


def machine_rows() -> list[tuple[str, str]]:
    """Return (what, value) rows: processor, memory, versions.

    Returns
    -------
    list of tuple
    """
    return [
        ("processor", f"{_processor()}, {core_count()} cores seen"),
        ("memory", _memory()),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("cython", _core_cython()),
        ("compiler", _core_compiler()),
        ("numpy", metadata.version("numpy")),
        ("build", _build_mode()),
    ]


def core_count() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.M)
    return found[1].strip() if found else platform.processor() or "unknown"


def _memory() -> str:
    found = re.search(r"^MemTotal:\s*(\d+) kB$", _read("/proc/meminfo"), re.M)
    return f"{int(found[1]) / 2**20:.1f} GiB" if found else "unknown"


def _core_image() -> bytes:
    try:
        import engine.core.exchange as module
    except ImportError:
        return b""
    return Path(module.__file__).read_bytes()


def _core_cython() -> str:
    """Version that the compiled core says it was made with, else what is installed."""
    # The name of the module that Cython's own types live in carries its version.
    found = re.search(rb"_cython_(\d+_\d+_[0-9a-z]+)", _core_image())
    if found:
        return found[1].decode().replace("_", ".")
    try:
        return metadata.version("cython")
    except metadata.PackageNotFoundError:
        return "unknown"


def _core_compiler() -> str:
    """What the compiler wrote into the compiled core, else what `cc` says it is."""
    found = re.search(rb"(GCC: \([^\x00]{1,80}|clang version [^\x00]{1,80})", _core_image())
    if found:
        return found[1].decode(errors="replace")
    try:
        run = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.splitlines()[0]


def _build_mode() -> str:
    stamp = Path(__file__).resolve().parents[2] / "build" / "mode"
    mode = _read(str(stamp)).strip()
    return mode if mode else f"as installed, for {sys.implementation.cache_tag}"
