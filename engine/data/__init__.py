"""Recorded market data from public archives: what to download, and how."""
