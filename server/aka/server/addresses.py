"""Where a server listens: `HOST:PORT` or `unix:/path`."""

import ipaddress
import socket


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
