"""Files that a server is told things in."""

from __future__ import annotations

import tomllib
from typing import Any

from engine.errors import InputError


def read_toml(path: str) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    InputError
        `PATH: reason`: it cannot be opened, or is not TOML.
    """
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: cannot open: {reason}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from None
