"""Roles, limits and the clients file, without a socket."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import zmq
import zmq.utils.z85

from engine import commands
from engine.batches import empty_commands
from engine.endpoints import check_endpoint
from engine.errors import InputError
from engine.keys import (
    make_key_files,
    read_client_keys,
    read_key_pair,
    read_public_key,
)
from engine.messages import NONE, Command
from engine.serving import roles
from engine.serving.access import Access, Caller, ClientEntry, Limits, read_clients
from engine.serving.roles import Role, may_connect, may_follow, why_not, why_not_packed

DOCS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


# --- roles ----------------------------------------------------------------------------------


def test_every_command_and_query_has_its_roles():
    assert set(roles.COMMANDS) == set(commands.COMMANDS)
    assert set(roles.QUERIES) == {*commands.QUERIES, "feeds", "server"}
    for allowed in (*roles.COMMANDS.values(), *roles.QUERIES.values(), *roles.SOCKETS.values()):
        assert Role.ADMIN in allowed


def documented() -> dict[str, set[str]]:
    """The rows of the roles table: what is sent → roles."""
    found: dict[str, set[str]] = {}
    text = DOCS.read_text().split("### Roles")[1].split("\n### ")[0]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0].startswith("`"):
            granted = {role for role, cell in zip(Role, cells[1:], strict=True) if cell == "yes"}
            found.update(dict.fromkeys(cells[0].replace("`", "").split(", "), granted))
    return found


def test_the_documented_table_is_the_one_in_force():
    tables = {
        **{f"{name}": set(who) for name, who in roles.COMMANDS.items()},
        **{f"query {name}": set(who) for name, who in roles.QUERIES.items()},
        **{f"socket {name}": set(who) for name, who in roles.SOCKETS.items()}}
    assert documented() == tables


ORDER = {"cmd": "order", "account": 7}


@pytest.mark.parametrize("role, accounts, line, problem", [
    (Role.TRADE, None, ORDER, None),
    (Role.TRADE, {7}, ORDER, None),
    (Role.TRADE, {8}, ORDER, "account 7 was not granted"),
    (Role.READ, None, ORDER, "role read may not send 'order'"),
    (Role.FEED, None, ORDER, "role feed may not send 'order'"),
    (Role.ADMIN, None, ORDER, None),
    (Role.ADMIN, {8}, ORDER, "account 7 was not granted"),
    (Role.TRADE, None, {"cmd": "mark"}, "role trade may not send 'mark'"),
    (Role.FEED, None, {"cmd": "mark"}, None),
    (Role.TRADE, None, {"cmd": "deposit"}, "role trade may not send 'deposit'"),
    (Role.TRADE, {1}, {"cmd": "transfer", "account": 1, "to": 2}, "account 2 was not granted"),
    (Role.TRADE, {1}, {"cmd": "cancel_all"}, "'cancel_all' without an account"),
    (Role.TRADE, {1}, {"cmd": "cancel_all", "account": None}, "'cancel_all' without an account"),
    (Role.TRADE, None, {"cmd": "cancel_all"}, None),
    (Role.TRADE, {1}, {"query": "account", "account": 2}, "account 2 was not granted"),
    (Role.READ, {1}, {"query": "orders", "account": 1}, None),
    (Role.READ, {1}, {"query": "liquidation_queue"}, "is about all accounts"),
    (Role.READ, None, {"query": "liquidation_queue"}, None),
    (Role.TRADE, None, {"query": "book", "symbol": "X"}, None),
    (Role.TRADE, None, {"query": "book", "symbol": "X", "l3": True}, "a book with accounts"),
    (Role.READ, {1}, {"query": "book", "symbol": "X", "l3": True}, "a book with accounts"),
    (Role.READ, None, {"query": "book", "symbol": "X", "l3": True}, None),
    (Role.FEED, None, {"query": "account", "account": 1}, "role feed may not send 'account'"),
    (Role.READ, None, {"cmd": "not there yet"}, "role read may not send"),
    (Role.ADMIN, None, {"cmd": "not there yet"}, None),
])
def test_what_a_role_may_send(role, accounts, line, problem):
    found = why_not(role, accounts, line)
    assert found is None if problem is None else problem in found


PLACE, CANCEL_ALL, MARK, DEPOSIT = (
    Command.ORDER, Command.CANCEL_ALL, Command.MARK, Command.DEPOSIT)


@pytest.mark.parametrize("role, accounts, rows, problem", [
    (Role.TRADE, None, [(PLACE, 7), (CANCEL_ALL, NONE)], None),
    (Role.TRADE, {7}, [(PLACE, 7)], None),
    (Role.TRADE, {7}, [(PLACE, 7), (PLACE, 8)], "account 8 was not granted"),
    (Role.TRADE, {7}, [(CANCEL_ALL, NONE)], "was not granted"),
    (Role.TRADE, None, [(PLACE, 7), (MARK, NONE)], "role trade may not send 'mark'"),
    (Role.FEED, {7}, [(MARK, 8)], None),  # the column has its cause
    (Role.FEED, None, [(DEPOSIT, 8)], "role feed may not send 'deposit'"),
    (Role.READ, None, [(MARK, 8)], "role read may not send 'mark'"),
    (Role.ADMIN, None, [(DEPOSIT, 8), (99, 1)], None),
    (Role.ADMIN, {7}, [(DEPOSIT, 8)], "account 8 was not granted"),
    (Role.TRADE, None, [(99, 1)], "role trade may not send 'command 99'"),
])
def test_what_a_role_may_send_packed(role, accounts, rows, problem):
    table = empty_commands(len(rows))
    table["cmd"], table["account"] = zip(*rows, strict=True)
    found = why_not_packed(role, accounts, table.tobytes())
    assert found is None if problem is None else problem in found


@pytest.mark.parametrize("role, accounts, topic, may", [
    (Role.ADMIN, None, b"", True), (Role.READ, None, b"events.", True),
    (Role.READ, {1}, b"account.2.", True), (Role.FEED, None, b"account.1.", False),
    (Role.TRADE, None, b"account.1.", True), (Role.TRADE, {1}, b"account.1.", True),
    (Role.TRADE, {1}, b"beat.1.", True), (Role.TRADE, {1}, b"account.2.", False),
    # A prefix would bring more than its name.
    (Role.TRADE, {1}, b"account.1", False), (Role.TRADE, None, b"account.", False),
    (Role.TRADE, {1}, b"", False), (Role.TRADE, None, b"events.", False),
    (Role.TRADE, None, b"hb.", False), (Role.TRADE, None, b"end.", False),
    (Role.TRADE, {1}, b"account.01.", False), (Role.TRADE, {1}, b"account.1.\n", False),
])
def test_who_may_follow_which_topic(role, accounts, topic, may):
    assert may_follow(role, accounts, topic) is may


def test_who_may_connect_where():
    assert may_connect(Role.FEED, "commands") and not may_connect(Role.FEED, "events")
    assert may_connect(Role.READ, "events") and may_connect(Role.TRADE, "events")
    assert [role for role in Role if may_connect(role, "a new socket")] == [Role.ADMIN]


# --- limits ---------------------------------------------------------------------------------


def test_tokens_come_back_with_time_and_never_exceed_the_burst():
    caller, second = Caller("x", Role.TRADE, None, Limits(10, 5)), 10**9
    assert caller.take_tokens(5, 100 * second) is None
    assert caller.take_tokens(1, 100 * second) == (
        "more than 10 commands a second; again in 0.100 s")
    assert caller.take_tokens(1, 100 * second + second // 10 - 1) is not None
    assert caller.take_tokens(1, 100 * second + second // 10) is None
    assert caller.take_tokens(5, 100 * second + second // 2) == (
        "more than 10 commands a second; again in 0.100 s")
    assert caller.take_tokens(5, 999 * second) is None
    assert caller.take_tokens(1, 999 * second) is not None
    assert caller.take_tokens(1, 998 * second) is not None  # a clock set back gives nothing
    assert caller.take_tokens(6, 9999 * second) == "6 commands at once, the burst is 5"


def test_without_a_rate_there_is_no_limit():
    caller = Caller(None, Role.ADMIN)
    assert all(caller.take_tokens(1024, 0) is None for _ in range(1000))


# --- the clients file -------------------------------------------------------------------------

# The same in every process, so that the names of the tests are.
KEY = zmq.utils.z85.encode(bytes(range(32))).decode()
OTHER = zmq.utils.z85.encode(bytes(range(32, 64))).decode()


def entry(name: str = "a", key: str = KEY, role: str = "trade", more: str = "") -> str:
    return f'[[client]]\nname = "{name}"\nkey = "{key}"\nrole = "{role}"\n{more}\n'


def test_a_clients_file(tmp_path):
    path = tmp_path / "clients.toml"
    path.write_text(
        "[defaults]\nburst = 50\n" + entry(more="accounts = [2, 1]\ncommands_per_second = 9")
        + entry("b", OTHER, "feed", "burst = 7"))
    access = read_clients(str(path))
    first, second = access.entries
    assert (first.name, first.role, first.accounts) == ("a", Role.TRADE, {1, 2})
    assert (first.limits, second.limits) == (Limits(9, 50), Limits(burst=7))
    assert access.caller(KEY.encode()).name == "a" and access.caller(b"x") is None
    assert access.admits("commands", OTHER.encode()) and access.refused_connections == 0
    assert not access.admits("events", OTHER.encode()) and not access.admits("commands", b"x")
    assert access.refused_connections == 2


def test_who_stays_keeps_what_is_left_of_its_limits():
    path_keys = KEY.encode(), OTHER.encode()
    first = ClientEntry("a", path_keys[0], Role.TRADE, None, Limits(1, 5))
    second = ClientEntry("b", path_keys[1], Role.READ, None, Limits(1, 5))
    access = Access([first, second])
    for key in path_keys:
        caller = access.caller(key)
        assert caller is not None and caller.take_tokens(5, 0) is None
    access.replace([first, replace(second, role=Role.ADMIN)])
    kept, changed = map(access.caller, path_keys)
    assert kept.take_tokens(1, 0) is not None
    assert changed.role is Role.ADMIN and changed.take_tokens(5, 0) is None
    access.replace([first])
    assert access.caller(path_keys[1]) is None and not access.admits("commands", path_keys[1])


@pytest.mark.parametrize("text, problem", [
    ("", "no [[client]]: nobody could connect"),
    ("[[client]", "not TOML"),
    ("x = 1", "unknown part 'x'"),
    ("client = 1", "[[client]] must be a list of tables"),
    ("defaults = 1\n" + entry(), "[defaults] must be a table"),
    ("[defaults]\nname = 'x'\n" + entry(), "[defaults]: unknown field 'name'"),
    ("[defaults]\nburst = 0\n" + entry(), "[defaults]: burst: expected 1 to"),
    ("[[client]]\nkey = 'x'", "client 1 (no name): name must be a text"),
    (entry("a/b"), "client 1 (a/b): a name has 1 to 64 letters"),
    (entry(key="short"), "client 1 (a): key: not a public key: expected 40 characters"),
    (entry(key="é" * 40), "not a public key"),
    (entry(key="~" * 40), "not a public key"),
    (entry(role="root"), "role 'root': expected trade, read, feed, admin"),
    (entry(more="accounts = []"), "accounts must be a list of account numbers, not empty"),
    (entry(more="accounts = [true]"), "accounts must be a list"),
    (entry(more="accounts = [0]"), "accounts must be a list"),
    (entry(more="password = 1"), "unknown field 'password'"),
    (entry(more="burst = 1.5"), "burst must be an integer, not 1.5"),
    (entry(more="message_size = 63"), "message_size: expected 64 to 16777216"),
    (entry(more="open_requests = 0"), "open_requests: expected 1 to"),
    (entry(more="commands_per_second = -1"), "commands_per_second: expected 0 to"),
    (entry() + entry("b"), "client 2 (b): the same key as a twice"),
    (entry() + entry(key=OTHER), "client 2 (a): the same name twice"),
])
def test_a_clients_file_is_checked(tmp_path, text, problem):
    path = tmp_path / "clients.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_clients(str(path))
    assert str(caught.value).startswith(f"{path}: ") and problem in str(caught.value)
    assert "\n" not in str(caught.value)


# --- key files ------------------------------------------------------------------------------


def test_key_files_are_for_their_owner_and_never_replaced(tmp_path):
    public_path, secret_path, public = make_key_files(str(tmp_path / "keys"), "desk-1")
    assert stat.S_IMODE(os.stat(secret_path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "keys").st_mode) == 0o700
    pair = read_key_pair(secret_path)
    assert pair.public == public == read_public_key(public_path) == read_public_key(secret_path)
    assert pair.secret.decode() not in repr(pair) + Path(public_path).read_text()
    with pytest.raises(InputError, match="exists already"):
        make_key_files(str(tmp_path / "keys"), "desk-1")
    assert read_key_pair(secret_path) == pair


def test_bad_key_files(tmp_path):
    public_path, secret_path, _ = make_key_files(str(tmp_path), "a")
    with pytest.raises(InputError, match="a public key; expected the file with the secret one"):
        read_key_pair(_only_owner(public_path))
    with pytest.raises(InputError, match="cannot open: no such file"):
        read_key_pair(str(tmp_path / "none"))
    os.chmod(secret_path, 0o640)
    with pytest.raises(InputError, match="mode 0640: a secret key is for its owner alone"):
        read_key_pair(secret_path)
    os.chmod(secret_path, 0o600)
    with pytest.raises(InputError, match="a key goes with the key of the server"):
        read_client_keys(secret_path, None)
    text = Path(secret_path).read_text()
    secret = read_key_pair(secret_path).secret.decode()
    for damaged, problem in (
        (text.replace(secret, secret[:-1]), "not 40 characters"),
        (text.replace(secret, zmq.curve_keypair()[1].decode()), "not that of the secret one"),
        ("", "not a key file"), ("\0\xff" * 50, "not a key file"),
    ):
        Path(secret_path).write_text(damaged)
        with pytest.raises(InputError, match=problem) as caught:
            read_key_pair(secret_path)
        assert secret[:20] not in str(caught.value)
    with pytest.raises(InputError, match="expected 1 to 64 letters"):
        make_key_files(str(tmp_path), "../escape")


def _only_owner(path: str) -> str:
    os.chmod(path, 0o600)
    return path


def test_beyond_this_machine_only_with_keys_and_a_word():
    far = "tcp://10.0.0.1:5555"
    for given in ({}, {"allow_remote": True}, {"has_keys": True}):
        with pytest.raises(InputError, match="not on loopback"):
            check_endpoint(far, **given)
    assert check_endpoint(far, allow_remote=True, has_keys=True) == far
