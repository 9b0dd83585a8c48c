"""What the tests of the engine share: markets in few words, audits, scenarios, lockstep."""

from __future__ import annotations

#: The cores that every test runs on. The one place to change while one of them is missing.
CORES = ("reference", "compiled")
