"""Keys on the command line: the options that take them, and `engine keys`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import InputError

if TYPE_CHECKING:
    from engine.keys import ServerKeys

Key = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Own secret key file, as `engine keys new` writes it."),
]
Clients = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="TOML with the clients that may connect, their keys, roles and limits."),
]
FeedKey = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Public key file of the feed's publisher."),
]
FollowKey = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Public key file of the primary that is followed."),
]
ServerKey = Annotated[
    str | None, typer.Option(metavar="FILE", help="Public key file of the server.")
]
LocalRole = Annotated[
    str | None,
    typer.Option(
        metavar="trade|read|feed|admin",
        help="Role of everybody where there are no keys; admin."),
]

app = typer.Typer(
    help="Make and check the keys with which clients and servers know each other.",
    no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of a client or a server.")],
    out: Annotated[str, typer.Option("--dir", metavar="DIR", help="Gets the files.")] = "keys",
) -> None:
    """Make a pair of keys: NAME.key to hand out, NAME.key_secret for its owner alone.

    Prints where they are and the public key. Files that exist are never replaced.
    """
    from engine.keys import make_key_files

    public_path, secret_path, public = make_key_files(out, name)
    print(f"public_key   {public.decode()}\npublic_file  {public_path}\nsecret_file  {secret_path}")


@app.command()
def show(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A public or a secret key file.")],
) -> None:
    """Print the public key of a file."""
    from engine.keys import read_public_key

    print(read_public_key(file).decode())


@app.command()
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The clients file of a server.")],
) -> None:
    """Check a clients file, and print who may do what."""
    from engine.serving.access import read_clients

    for entry in read_clients(file).entries:
        limits = entry.limits
        accounts = "all" if entry.accounts is None else ",".join(map(str, sorted(entry.accounts)))
        rate = limits.commands_per_second or "unlimited"
        print(
            f"{entry.name}  role={entry.role} accounts={accounts} commands_per_second={rate} "
            f"burst={limits.burst} message_size={limits.message_size} "
            f"open_requests={limits.open_requests}")


def publisher_keys(key: str | None, clients: str | None) -> ServerKeys | None:
    """Return the keys of a publisher, None where neither file is given.

    Raises
    ------
    InputError
        One without the other, or a file that is not what it should be.
    """
    from engine.keys import read_key_pair
    from engine.serving.access import read_clients

    if key is None and clients is None:
        return None
    if key is None or clients is None:
        raise InputError("a key goes with those who may connect: give --key and --clients")
    return read_clients(clients).keys(read_key_pair(key))
