"""The reference model: the whole core once more, in plain Python, slow and obvious.

It exists to be read and to be compared with. It scans every account after every
command where the compiled core asks its trigger index, keeps its books in sorted
dictionaries, and solves for liquidation prices by bisection. It is never
optimised, imports nothing compiled, and answers to the same tests.
"""

from engine.reference.batches import ReferenceCore

__all__ = ["ReferenceCore"]
