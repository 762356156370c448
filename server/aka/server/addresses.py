"""Where a server listens: `HOST:PORT` or `unix:/path`."""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager


class CannotListen(Exception):
    """The address cannot be listened on; the message is one line for the operator."""


def address(text: str) -> str:
    """Return an address; ValueError where it is none."""
    if text.startswith("unix:"):
        if not text.removeprefix("unix:").startswith("/"):
            raise ValueError(text)
        return text
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(text)
    return text


def is_local(address: str) -> bool:
    """Whether only this machine reaches an address: a unix socket or loopback."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_served(address: str) -> bool:
    """Whether a process listens on a unix socket already; whoever binds to its path takes it away from that process."""
    if not address.startswith("unix:"):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address.removeprefix("unix:"))
        except OSError:
            return False
    return True


def family_of(host: str) -> socket.AddressFamily:
    """Return the family that a host is listened on by: IPv6 where it is written as such."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextmanager
def reserved(address: str) -> Iterator[str]:
    """Keep a TCP address for sockets of this user that share their port; yield it with the port (0 picks one).

    CannotListen where anybody else has it, who shares it or not.
    """
    name, _, port = address.rpartition(":")
    host = name.strip("[]")
    with socket.socket(family_of(host)) as holder:
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not count
            holder.bind((host, int(port)))
        except OSError as error:
            raise cannot_listen(address, error) from None
        # It was alone, and now others may come, but none that does not share. It never listens itself.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield f"{name}:{holder.getsockname()[1]}"


def cannot_listen(address: str, error: OSError) -> CannotListen:
    """Return what the operator is told of an error."""
    why = (error.strerror or str(error)).partition(" (while ")[0]  # Python names the address once more
    return CannotListen(f"cannot listen on {address}: {why}")
