"""Recorded markets rebuilt in the engine's own order book, and compared with the record."""
