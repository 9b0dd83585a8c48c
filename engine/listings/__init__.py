"""Instruments as venues list them: their files as `asset` and `instrument` commands.

`load_instruments` turns a file, or parsed JSON, into the commands that declare its contracts;
`read_instruments` also says what was left out and by which rules. `Spellings` finds a contract
by any of the names under which it goes. Everything is exact; nothing is a float.
"""

from __future__ import annotations

from engine.listings.load import Listed, load_instruments, read_instruments
from engine.listings.spellings import Spellings, unified_name

__all__ = ["Listed", "Spellings", "load_instruments", "read_instruments", "unified_name"]
