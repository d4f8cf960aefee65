"""Certificates for tests: an authority, a server for localhost, a client; made by openssl."""

import subprocess
from pathlib import Path

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def make(folder: Path) -> Path:
    """`ca.pem`; `<name>-cert.pem` and `-key.pem` for server, client, and a stranger to that authority."""
    _authority(folder, "ca")
    _authority(folder, "other")
    _signed(folder, "server", "ca", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth")
    _signed(folder, "client", "ca", "extendedKeyUsage=clientAuth")
    _signed(folder, "stranger", "other", "extendedKeyUsage=clientAuth")
    return folder


def _authority(folder: Path, name: str) -> None:
    names = ["-keyout", f"{name}-key.pem", "-out", f"{name}.pem", "-subj", f"/CN={name}"]
    _openssl(folder, "req", "-x509", *_KEY, "-days", "2", *names)


def _signed(folder: Path, name: str, authority: str, extensions: str) -> None:
    request = folder / f"{name}.csr"
    (folder / f"{name}.ext").write_text(extensions)
    _openssl(folder, "req", *_KEY, "-keyout", f"{name}-key.pem", "-out", request.name, "-subj", f"/CN={name}")
    ca = ["-CA", f"{authority}.pem", "-CAkey", f"{authority}-key.pem", "-CAcreateserial"]
    out = ["-out", f"{name}-cert.pem", "-days", "2", "-extfile", f"{name}.ext"]
    _openssl(folder, "x509", "-req", "-in", request.name, *ca, *out)


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
