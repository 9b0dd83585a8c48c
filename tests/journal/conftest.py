"""Small journals on the real disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.journals import Unflushed, open_journal, record


@pytest.fixture
def make_journal(tmp_path: Path) -> Callable[..., Path]:
    """Write a journal of batches of the given sizes; its commands are numbered from 1."""

    def make(*sizes: int, name: str = "journal", segment_size: int = 1 << 16) -> Path:
        folder = tmp_path / name
        journal, _, _ = open_journal(folder, segment_size=segment_size, storage=Unflushed())
        with journal:
            number = journal.last_seq
            for size in sizes:
                journal.append([record(number + each) for each in range(1, size + 1)])
                number += size
        return folder

    return make
