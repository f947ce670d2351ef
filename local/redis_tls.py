"""A certificate authority made for one run, and a Redis on loopback that speaks TLS with its certificates."""

from __future__ import annotations

import ipaddress
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Self
from urllib.parse import quote

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local.ports import LOOPBACK, accepts, free_port
from local.process import LocalServerError, ServerProcess
from local.reaper import REAPER
from local.server import Server

_LIFE = timedelta(days=1)


class Authority:
    """Signs one server certificate, for `host` (a name or an address). Its files go when it is closed."""

    def __init__(self, host: str = LOOPBACK) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="stripe-cache-ca-"))
        REAPER.remove(self.directory)
        key, name = ec.generate_private_key(ec.SECP256R1()), _name("stripe-cache test authority")
        root = _certificate(name, name, key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.certificate = self._write("ca.pem", root.sign(key, hashes.SHA256()))
        server = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        leaf = (
            _certificate(_name(host), name, server.public_key())
            .add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
            .add_extension(usage, critical=False)
        )
        self._chain = self._write("server.pem", leaf.sign(key, hashes.SHA256()))
        self._key = self.directory / "server.key"
        self._key.write_bytes(
            server.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def server_command(self, port: int, *, cluster: bool = False) -> list[str | Path]:
        """Return the command line of a server that speaks nothing but TLS; raises LocalServerError without one."""
        command: list[str | Path] = [
            *(binary(), "--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", self._chain, "--tls-key-file", self._key, "--tls-ca-cert-file", self.certificate),
        ]
        return [*command, "--tls-cluster", "yes", "--tls-replication", "yes"] if cluster else command

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self.directory / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


class TlsRedis(Server):
    """One Redis that speaks TLS only, with a certificate of the authority."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority

        def start(port: int) -> ServerProcess:
            self.port = port
            command = [
                *authority.server_command(port),
                *("--bind", LOOPBACK, "--save", "", "--appendonly", "no", "--daemonize", "no"),
                *("--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru"),
            ]
            return ServerProcess("redis-tls", command, ready=self._pings, start_seconds=15)

        super().__init__(start)

    @property
    def url(self) -> str:
        """What STRIPE_CACHE_REDIS_URL takes."""
        return f"rediss://{self.host}:{self.port}/0?ca_certs={quote(str(self.authority.certificate))}"

    def client(self) -> redis.Redis:
        """Return a client past everything under test; it asks nothing of the certificate's name."""
        return redis.Redis(
            host=LOOPBACK,
            port=self.port,
            ssl=True,
            ssl_ca_certs=str(self.authority.certificate),
            ssl_check_hostname=False,
            socket_timeout=5.0,
            protocol=2,
        )

    def _pings(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@cache
def binary() -> Path:
    """Return a server on PATH that is built with TLS; raises LocalServerError with the remedy."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _speaks_tls(Path(found)):
            return Path(found)
    raise LocalServerError("no redis-server with TLS on PATH: `apt-get install redis-server`, or `brew install redis`")


def _speaks_tls(program: Path) -> bool:
    # One that is built without TLS ends at once, because it does not know the option.
    port = free_port()
    try:
        ServerProcess(
            "redis-probe",
            [program, "--port", str(port), "--bind", LOOPBACK, "--save", "", "--tls-auth-clients", "no"],
            ready=lambda: accepts(port),
            start_seconds=5,
        ).stop()
    except LocalServerError:
        return False
    return True


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + _LIFE)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
