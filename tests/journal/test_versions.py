"""Journals that earlier versions wrote lead to the state that they led to then.

`versions/schema-N` was written by the code of schema N, with its commands and the state they led
to beside it. None is ever changed; who raises the schema adds one of the version before.
"""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path

import pytest
from support import CORES
from support.journals import Unflushed, segments

from engine import Exchange, cli
from engine.journal import Journal, JournalReader, Kind, Storage
from engine.journal.layout import SCHEMA_VERSION, make_record, pack_command
from engine.serving.recovery import replay
from engine.serving.sessions import Sessions

VERSIONS = Path(__file__).parent / "versions"
WRITTEN = sorted(VERSIONS.glob("schema-*"))


@pytest.fixture(params=WRITTEN, ids=[path.name for path in WRITTEN])
def written(request: pytest.FixtureRequest) -> Path:
    return request.param


def stated(folder: Path) -> dict:
    return json.loads((folder / "commands.json").read_text())


def test_there_is_one_of_every_version_before_this():
    expected = {f"schema-{version}" for version in range(1, max(SCHEMA_VERSION, 2))}
    assert expected <= {path.name for path in WRITTEN}


@pytest.mark.parametrize("core", CORES)
def test_it_leads_to_the_stated_state(written, core):
    said, exchange, sessions = stated(written), Exchange(core=core), Sessions()
    reader = JournalReader(str(written), Storage())
    batches = list(reader.batches())
    done = replay(batches, exchange, sessions)
    assert (exchange.seq, exchange.state_hash()) == (said["seq"], said["state_hash"])
    assert (done.command_count, done.start_count) == (said["seq"], 2)
    assert done.checkpoint_count > 3 and done.rejected_count > 0 and len(reader.segments) > 1
    found = [
        [entry.stamp, entry.client, entry.request, entry.given]
        for batch in batches if batch.header.command_count for entry in batch.entries()]
    assert found == said["records"]
    for client in {row[1] for row in found if row[1] is not None}:
        assert sessions.last_request(client) == max(row[2] for row in found if row[1] == client)


def test_a_server_goes_on_writing_it(written, tmp_path):
    folder = tmp_path / "journal"
    shutil.copytree(written, folder)
    before = {path.name: path.read_bytes().rstrip(b"\0") for path in segments(folder)}
    said, exchange = stated(written), Exchange(core=CORES[-1])
    with Journal(str(folder), segment_size=6000, storage=Unflushed()) as journal:
        replay(journal.batches(), exchange)
        assert journal.begin() is None
        journal.note(Kind.START, {"epoch": exchange.ts, "engine": "next"})
        journal.append([make_record(None, "later", 1, pack_command({"cmd": "time"}))])
    again = Exchange(core=CORES[-1])
    replay(JournalReader(str(folder), Storage()).batches(), again)
    assert again.seq == said["seq"] + 1
    exchange.apply({"cmd": "time"})
    assert again.state_hash() == exchange.state_hash()
    for name, data in before.items():
        assert (folder / name).read_bytes().startswith(data)


@pytest.mark.parametrize("command", [
    ["verify", "{folder}"],
    ["serve", "--journal", "{folder}", "--commands", "ipc://{folder}/commands"],
])
def test_a_newer_version_is_refused_and_left_alone(written, tmp_path, capsys, command):
    folder = tmp_path / "journal"
    shutil.copytree(written, folder)
    for path in segments(folder):
        data = bytearray(path.read_bytes())
        struct.pack_into("<H", data, 10, SCHEMA_VERSION + 1)
        struct.pack_into("<I", data, 60, zlib.crc32(data[:60]))
        path.write_bytes(data)
    before = {path.name: path.read_bytes() for path in segments(folder)}
    arguments = [word.format(folder=folder) for word in command]
    assert cli.call(cli.app, [*arguments, "--core", CORES[-1]]) == 2
    said = capsys.readouterr().err
    assert f"schema version {SCHEMA_VERSION + 1}; this engine reads" in said
    assert said.count("\n") == 1
    assert {path.name: path.read_bytes() for path in segments(folder)} == before
