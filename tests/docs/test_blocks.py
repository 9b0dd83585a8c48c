"""Every code block of README.md and docs/ runs and prints what is shown, or says why it doesn't.

`support.pages` has the rules.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pages import PAGES, README, ROOT, Block, Session, blocks, steady
from typer.testing import CliRunner

from engine.cli import app

RUNS = ("python", "console")
RECORDED = re.compile(r"[\w*-][\w.*-]*\.(?:zip|gz)\b")


def read_data(block: Block) -> None:
    """Read a block of data by its language; JSON is one document, or one a line."""
    if block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "json":
        is_lines = block.notes.get("saved as", "").endswith(".jsonl")
        for text in block.text.splitlines() if is_lines else [block.text]:
            json.loads(text)


def is_output(block: Block) -> bool:
    """Whether a block is what the block right above it prints."""
    return block.language == "text" and not block.before


def page_blocks(page: Path) -> list[Block]:
    return [block for block in blocks(page) if not block.language.startswith("{")]


ALL = [block for page in PAGES for block in page_blocks(page)]
NOT_RUN = [block for block in ALL if block.language == "console" and "not run" in block.notes]


def test_every_block_is_run_or_says_why_not() -> None:
    lost = [
        f"{block.place}: {block.language or 'no language'}" for block in ALL
        if not (block.language in RUNS or block.notes or is_output(block))]
    assert lost == [], "support.pages says which comments tell what a block is for"


def test_no_block_is_hidden_from_these_tests() -> None:
    for page in PAGES:
        fences = re.findall(r"^ *```", page.read_text("utf-8"), re.M)
        assert len(fences) == 2 * len(blocks(page)), f"{page.name}: a fence that is indented"


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.place)
def test_data_is_well_formed_and_its_test_exists(block: Block) -> None:
    read_data(block)
    for named in re.findall(r"tests/[\w/.]*\w", " ".join(block.notes.values())):
        assert (ROOT / named).exists(), f"{block.place}: no {named}"
    if "checked by" in block.notes:
        assert block.page.name in (ROOT / block.notes["checked by"]).read_text("utf-8")


def engine_commands(block: Block) -> Iterator[list[str]]:
    for command, _ in block.steps:
        words = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True)
        words.whitespace_split = True
        found = list(words)
        ends = [at for at, word in enumerate(found) if set(word) <= set("|&>;")]
        if found and found[0] == "engine":
            yield found[1 : min(ends, default=len(found))]


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: block.place)
def test_commands_that_are_not_run_have_options_that_exist(block: Block) -> None:
    for words in engine_commands(block):
        # Options are looked at before the one that asks for help is obeyed.
        result = CliRunner().invoke(app, [*words, "--help"])
        assert result.exit_code == 0, f"engine {shlex.join(words)}: {result.output}"


def recorded_folder() -> Path:
    return Path(os.environ.get("ENGINE_TEST_DATA") or ROOT.parent / "shared" / "data")


def have_recorded(block: Block, folder: Path) -> bool:
    """Put the recorded files that a block names into the folder; False where one is absent."""
    for name in RECORDED.findall(block.text):
        if not list(folder.glob(name)):
            found = sorted(recorded_folder().rglob(name))
            for path in found:
                (folder / path.name).symlink_to(path)
            if not found:
                return False
    return True


def save_files(page: Path, session: Session) -> None:
    for block in [*blocks(README), *blocks(page)]:
        if "saved as" in block.notes:
            path = session.folder / block.notes["saved as"]
            path.write_text(session.mapped(block.text), encoding="utf-8")


def run_block(block: Block, shown: str | None, session: Session) -> None:
    """Run a block in a session and compare what it prints with what the page shows."""
    if "first" in block.notes:
        _, problem = session.run(block.notes["first"])
        assert not problem, f"{block.place}: {block.notes['first']}: {problem}"
    steps = block.steps
    if block.language == "python":
        (session.folder / "block.py").write_text(session.mapped(block.text), encoding="utf-8")
        steps = [("python block.py", shown or "")]
    for command, expected in steps:
        output, problem = session.run(command, expected.count("\n"))
        assert not problem, f"{block.place}: {command}{problem}{output}"
        if expected:
            assert steady(output) == steady(session.mapped(expected)), block.place


def run_page(page: Path, folder: Path, *, is_slow: bool) -> None:
    (folder / "examples").symlink_to(ROOT / "examples")
    session, left_out = Session(folder), []
    save_files(page, session)
    every = page_blocks(page)
    try:
        for block, after in zip(every, [*every[1:], None], strict=True):
            is_run = block.language in RUNS and not {"not run", "checked by"} & set(block.notes)
            if not is_run or ("slow" in block.notes) != is_slow:
                continue
            if not have_recorded(block, folder):
                left_out.append(block.place)
                continue
            shown = after.text if after is not None and is_output(after) else None
            run_block(block, shown, session)
    finally:
        session.close()
    if left_out:
        pytest.skip(f"the rest ran; no recorded data for {', '.join(left_out)}")


def pages_that_run(*, is_slow: bool) -> list[Path]:
    return sorted({
        block.page for block in ALL
        if block.language in RUNS and ("slow" in block.notes) == is_slow
        and not {"not run", "checked by"} & set(block.notes)})


@pytest.mark.parametrize("page", pages_that_run(is_slow=False), ids=lambda page: page.name)
def test_blocks_of_a_page(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path, is_slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_that_run(is_slow=True), ids=lambda page: page.name)
def test_slow_blocks_of_a_page(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path, is_slow=True)


def test_embedding_example_of_the_readme_stays_short() -> None:
    programs = [block.text for block in blocks(README) if block.language == "python"]
    assert len(programs) >= 4 and max(len(text.splitlines()) for text in programs) <= 20
