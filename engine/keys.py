"""CURVE keys: made, kept in files, and put on sockets.

A pair is two files, `NAME.key` (public) and `NAME.key_secret`, in pyzmq's format, so that its
`load_certificate` and other libraries read them. Only its owner may read a secret file; a looser
one is refused, as ssh does. Nothing here ever prints a secret.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zmq
from zmq.auth import load_certificate
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from engine.errors import InputError

PUBLIC_SUFFIX = ".key"
SECRET_SUFFIX = ".key_secret"
#: Characters of a key, in Z85.
KEY_LENGTH = 40

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_NAME_LINE = re.compile(r'^ *name = "([A-Za-z0-9._:-]{1,64})" *$', re.MULTILINE)
#: More than a key file has.
_FILE_MAX = 1 << 12
_OWNER_READS = stat.S_IRUSR | stat.S_IWUSR
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class KeyPair:
    """A public key and its secret, in Z85.

    Attributes
    ----------
    public, secret : bytes
    """

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class ClientKeys:
    """What a socket that connects needs: its own pair, and the key of whom it means to reach.

    Attributes
    ----------
    pair : KeyPair
    server : bytes
        Public key of the side that binds, in Z85. Another server cannot pose as it.
    """

    pair: KeyPair
    server: bytes

    def unlock(self, zmq_socket: zmq.Socket[Any]) -> None:
        """Give a socket these keys; it connects after this."""
        zmq_socket.curve_publickey = self.pair.public
        zmq_socket.curve_secretkey = self.pair.secret
        zmq_socket.curve_serverkey = self.server


@dataclass(frozen=True)
class ServerKeys:
    """What a socket that binds needs: its own pair, and who may connect.

    Attributes
    ----------
    pair : KeyPair
    admits : callable
        Asked for each connection with the socket's domain and the client's public key (Z85),
        from a thread of its own.
    """

    pair: KeyPair
    admits: Callable[[str, bytes], bool]

    def guard(
        self, context: zmq.Context[zmq.Socket[bytes]], zmq_socket: zmq.Socket[bytes], domain: str
    ) -> ThreadAuthenticator:
        """Let nobody connect to a socket who is not admitted; to be stopped before the context.

        Parameters
        ----------
        context : zmq.Context
            Of that socket, with no other guard.
        zmq_socket : zmq.Socket
            Not bound yet.
        domain : str
            What the socket is for.
        """
        authenticator = ThreadAuthenticator(context)
        authenticator.configure_curve_callback(domain, _Credentials(self.admits))
        authenticator.start()
        zmq_socket.curve_server = True
        zmq_socket.curve_secretkey = self.pair.secret
        zmq_socket.zap_domain = domain.encode()
        # Without this a guard that died would leave the door open to every key.
        zmq_socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        return authenticator


class _Credentials:
    """`ServerKeys.admits` in the shape that pyzmq asks for."""

    def __init__(self, admits: Callable[[str, bytes], bool]) -> None:
        self._admits = admits

    def callback(self, domain: str, key: bytes) -> bool:
        return self._admits(domain, key)


def user_key(frame: zmq.Frame) -> bytes | None:
    """Return the public key (Z85) of whoever sent a frame, None over an open socket."""
    try:
        user = frame.get("User-Id")
    except zmq.ZMQError:
        return None
    return str(user).encode() if user else None


def make_key_files(folder: str, name: str) -> tuple[str, str, bytes]:
    """Make a pair and write its two files; the secret one is its owner's alone.

    Parameters
    ----------
    folder : str
        Made where it is missing, for its owner alone.
    name : str

    Returns
    -------
    path of the public file, path of the secret file, public key

    Raises
    ------
    InputError
        Not a name, a file of this name exists, or it cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r:.80}: expected 1 to 64 letters, digits and ._:-")
    public, secret = zmq.curve_keypair()
    stem = os.path.join(folder, name)
    curve = f'metadata\n    name = "{name}"\ncurve\n    public-key = "{public.decode()}"\n'
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _write_new(
            stem + SECRET_SUFFIX, _OWNER_READS,
            "# ZeroMQ CURVE secret key: for its owner alone\n"
            + curve + f'    secret-key = "{secret.decode()}"\n')
        _write_new(
            stem + PUBLIC_SUFFIX, 0o644, "# ZeroMQ CURVE public key\n" + curve)
    except FileExistsError as error:
        if error.filename == folder:
            raise InputError(f"{folder}: a file, not a folder") from None
        raise InputError(f"{error.filename}: exists already; keys are never replaced") from None
    except OSError as error:
        raise InputError(f"{stem}: cannot write: {_reason(error)}") from None
    return stem + PUBLIC_SUFFIX, stem + SECRET_SUFFIX, public


def _write_new(path: str, mode: int, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(handle, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(handle)


def read_key_pair(path: str) -> KeyPair:
    """Read a secret key file.

    Raises
    ------
    InputError
        Missing, readable by others than its owner, or without a pair that belongs together.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise InputError(f"{path}: cannot open: {_reason(error)}") from None
    if mode & _OTHERS:
        raise InputError(
            f"{path}: mode {stat.S_IMODE(mode):04o}: a secret key is for its owner alone (0600)")
    public, secret = _read(path)
    if secret is None:
        raise InputError(f"{path}: a public key; expected the file with the secret one")
    if zmq.curve_public(secret) != public:
        raise InputError(f"{path}: the public key in it is not that of the secret one")
    return KeyPair(public, secret)


def read_public_key(path: str) -> bytes:
    """Read a public key file.

    Raises
    ------
    InputError
    """
    return _read(path)[0]


def read_key_name(path: str) -> str:
    """Return the name that a key file was made for.

    Raises
    ------
    InputError
        The file cannot be read, or has none.
    """
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            found = _NAME_LINE.search(file.read(_FILE_MAX))
    except OSError as error:
        raise InputError(f"{path}: cannot open: {_reason(error)}") from None
    if found is None:
        raise InputError(f"{path}: there is no name in it; `engine keys new` writes one")
    return found[1]


def read_client_keys(key: str | None, server_key: str | None) -> ClientKeys | None:
    """Return the keys of somebody who connects, None where neither file is given.

    Parameters
    ----------
    key : str or None
        Secret key file of its own.
    server_key : str or None
        Public key file of the server.

    Raises
    ------
    InputError
        One without the other, or a file that is no key.
    """
    if key is None and server_key is None:
        return None
    if key is None or server_key is None:
        raise InputError("a key goes with the key of the server: give --key and --server-key")
    return ClientKeys(read_key_pair(key), read_public_key(server_key))


def check_public_key(key: str) -> bytes:
    """Return a public key given as text, checked.

    Raises
    ------
    InputError
    """
    try:
        if len(key) == KEY_LENGTH and len(z85.decode(key.encode("ascii"))) == 32:
            return key.encode("ascii")
    except (ValueError, KeyError, OverflowError):
        pass
    raise InputError(f"not a public key: expected {KEY_LENGTH} characters of Z85")


def _read(path: str) -> tuple[bytes, bytes | None]:
    try:
        os.stat(path)  # says what is wrong better than what follows
        public, secret = load_certificate(path)
    except OSError as error:
        raise InputError(f"{path}: cannot open: {_reason(error)}") from None
    except ValueError:
        raise InputError(f"{path}: not a key file") from None
    try:
        for key in filter(None, (public, secret)):
            check_public_key(key.decode("ascii"))
    except (InputError, UnicodeDecodeError):
        # Never what was found: it may be a secret with a typing error in it.
        raise InputError(
            f"{path}: a key in it is not {KEY_LENGTH} characters of Z85") from None
    return public, secret


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
