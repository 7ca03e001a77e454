"""The home's own CA, the server's certificate, the signing key of tokens, the admin's token.

Everything lies in ``home.keys`` (0700), each file 0600, written beside and renamed, so that a
crash leaves the old one or the new one. The server's certificate is made anew a month before it
ends or when it lacks a wanted name.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bessemer.base.clock import Clock, format_time
from bessemer.base.errors import BessemerError

_CA_LIFE = timedelta(days=3650)
_SERVER_LIFE = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)
# Clocks of clients may be a little behind.
_SKEW = timedelta(minutes=5)

#: How pods and kubectl may call the server, beside the addresses that app.py hands in.
NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
)

_Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Keys:
    """What ``ensure`` found or made."""

    ca_file: Path
    certificate_file: Path
    key_file: Path
    ca: str  # PEM
    admin_token: str
    signing_key: ed25519.Ed25519PrivateKey


def ensure(folder: Path, names: Sequence[str], clock: Clock) -> Keys:
    """The keys in the folder, made or renewed where needed.

    Raises:
        BessemerError: a file can't be read, holds no key, or is of the future.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    try:
        ca_key = _ensure_key(folder / "ca.key")
        ca = _ensure_ca(folder / "ca.crt", ca_key, clock)
        key = _ensure_key(folder / "apiserver.key")
        _ensure_server(folder / "apiserver.crt", key, _Authority(ca, ca_key), names, clock)
        return Keys(
            folder / "ca.crt",
            folder / "apiserver.crt",
            folder / "apiserver.key",
            ca.public_bytes(serialization.Encoding.PEM).decode(),
            _ensure_token(folder / "admin.token"),
            _ensure_signing_key(folder / "tokens.key"),
        )
    except (ValueError, TypeError) as error:
        raise BessemerError(
            f"the keys in {folder} can't be read: {error}; restore them from a copy, or delete "
            "all but secrets.key (the Secrets' own) to make new ones (clients then need the new "
            "kubeconfig)"
        ) from error


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)  # a full disk needs no more files
        raise


def _private_pem(key: _Key | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _ensure_key(path: Path) -> _Key:
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path.name} holds no elliptic curve key")
        return key
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(path, _private_pem(key))
    return key


def _ensure_signing_key(path: Path) -> ed25519.Ed25519PrivateKey:
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise ValueError(f"{path.name} holds no Ed25519 key")
        return key
    key = ed25519.Ed25519PrivateKey.generate()
    write_private(path, _private_pem(key))
    return key


def _ensure_token(path: Path) -> str:
    if path.exists():
        token = path.read_text().strip()
        if not token:
            raise ValueError(f"{path.name} is empty")
        return token
    token = secrets.token_urlsafe(32)
    write_private(path, token.encode())
    return token


def _ensure_ca(path: Path, key: _Key, clock: Clock) -> x509.Certificate:
    if path.exists():
        found = x509.load_pem_x509_certificate(path.read_bytes())
        if found.not_valid_before_utc > clock.now():
            raise BessemerError(
                f"the clock must be past {format_time(found.not_valid_before_utc)}, when the "
                f"home's CA was made, but says {format_time(clock.now())}: nobody would trust "
                "its certificates; set the clock"
            )
        is_ours = found.public_key() == key.public_key()
        if is_ours and found.not_valid_after_utc - clock.now() > _RENEW_BEFORE:
            return found
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bessemer-ca")])
    builder = _builder(name, name, key, _CA_LIFE, clock)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


class _Authority(NamedTuple):
    """Who signs the server's certificate."""

    certificate: x509.Certificate
    key: _Key


def _ensure_server(
    path: Path,
    key: _Key,
    authority: _Authority,
    names: Sequence[str],
    clock: Clock,
) -> None:
    wanted = [_general_name(name) for name in dict.fromkeys([*NAMES, *names])]
    ca, ca_key = authority
    if path.exists():
        found = x509.load_pem_x509_certificate(path.read_bytes())
        if found.public_key() == key.public_key() and _serves(found, ca, wanted, clock):
            return
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bessemer-apiserver")])
    builder = _builder(name, ca.subject, key, _SERVER_LIFE, clock)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
    )
    builder = builder.add_extension(x509.SubjectAlternativeName(wanted), critical=False)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = builder.add_extension(signer, critical=False)
    certificate = builder.sign(ca_key, hashes.SHA256())
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM))


def _serves(
    found: x509.Certificate, ca: x509.Certificate, wanted: list[x509.GeneralName], clock: Clock
) -> bool:
    alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    try:
        found.verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001 - cryptography raises several kinds; any means: make it anew
        return False
    is_valid = (
        found.not_valid_before_utc <= clock.now() < found.not_valid_after_utc - _RENEW_BEFORE
    )
    return is_valid and set(wanted) <= set(alternatives.value)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: _Key, life: timedelta, clock: Clock
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() - _SKEW)
        .not_valid_after(clock.now() + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
