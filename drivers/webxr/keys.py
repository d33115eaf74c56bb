"""The code that a page has to know, and the certificate this machine made for itself: both made on first use."""

import hashlib
import os
import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from drivers.device import DeviceError

LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""None that is easily taken for another: the code is typed in a headset."""

CODE = re.compile(r"[a-z0-9_-]{8,64}")
"""Eight of the letters are 39 bits; at one guess a second that is ten thousand years."""

LASTS, RENEWED = timedelta(days=730), timedelta(days=30)
"""How long a certificate lasts, and how long before its end another is made."""


def code(folder: Path) -> str:
    """Return what is in the file ``code`` of the folder, which is made if it is not there.

    Raises:
        DeviceError: it is no code, or others may read it.
    """
    path = folder / "code"
    if not path.exists():
        drawn = "".join(secrets.choice(LETTERS) for _ in range(8))
        _keep(path, f"{drawn[:4]}-{drawn[4:]}\n".encode())
    if path.stat().st_mode & 0o077:
        raise DeviceError(f"others may read {path}; type: chmod 600 {path}")
    found = path.read_text().strip()
    if not CODE.fullmatch(found):
        raise DeviceError(
            f"{path} holds no code of 8 to 64 small letters, digits, - and _; delete it, and another is made"
        )
    return found


def certificate(folder: Path, host: str) -> Path:
    """Return a file with a certificate for ``host`` and its key, made anew if there is none or it ends soon.

    Raises:
        DeviceError: what is there is something else.
    """
    path = folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', host)}.pem"
    if path.exists():
        if _ends(path) - datetime.now(UTC) > RENEWED:
            return path
        path.unlink()
    _keep(path, _made(host))
    return path


def _ends(path: Path) -> datetime:
    """When the certificate in a file, which has its key there too, ends."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        content = path.read_bytes()
        load_pem_private_key(content, None)
        return x509.load_pem_x509_certificate(content).not_valid_after_utc
    except (ValueError, TypeError) as error:  # the latter of a key with a password
        raise DeviceError(f"{path} holds no certificate and key; delete it, and others are made") from error


def fingerprint(path: Path) -> str:
    """The certificate's, as a browser shows it: SHA-256 in hex."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    found = x509.load_pem_x509_certificate(path.read_bytes())
    return hashlib.sha256(found.public_bytes(Encoding.DER)).hexdigest()


def _made(host: str) -> bytes:
    """A key, and a certificate that it signed itself, for this name or address only."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    try:
        called: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        called = x509.DNSName(host)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    us = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "appliance")])
    made = (
        x509.CertificateBuilder()
        .subject_name(us)
        .issuer_name(us)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LASTS)
        .add_extension(x509.SubjectAlternativeName([called]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + made.public_bytes(Encoding.PEM)


def _keep(path: Path, content: bytes) -> None:
    """Write a file that only this user may read, whole or not at all; the one that is there first stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    with suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()
