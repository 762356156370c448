"""Certificates of authorities of our own, in files as an operator has them."""

from pathlib import Path
from typing import Final

import trustme

from aka.server.tls import TlsFiles

NAME: Final = "aka.example.com"


class Authority:
    """Issues certificates, and is trusted by whoever has its `ca` file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._ca = trustme.CA()
        self.folder = folder
        self.ca = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca)

    @property
    def pem(self) -> bytes:
        """What the `ca` file has."""
        return self._ca.cert_pem.bytes()

    def issue(self, name: str = NAME, *, client_ca: str | None = None) -> TlsFiles:
        """Write a certificate for a name, and its key, over those that were issued for it before."""
        made = self._ca.issue_cert(name)
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        return TlsFiles(str(cert), str(key), client_ca)
