"""What this machine is: its packages, its mirrors and the certificates it trusts."""

from __future__ import annotations

import configparser
import hashlib
import os
import platform
import re
import shutil
import ssl
from pathlib import Path

from .run import LabError, logged, output, say
from .state import LAB, REPOSITORY

NEEDED = ["debootstrap", "debian-archive-keyring", "dpkg-dev", "gpg", "gpg-agent", "openssh-client", "iproute2",
          "iptables", "ca-certificates", "python3-venv"]  # fmt: skip
# For hosts with kernels of their own.
NEEDED_FOR_KERNELS = ["user-mode-linux", "gcc", "libc6-dev", "e2fsprogs", "xfsprogs"]


def check() -> None:
    """Refuse a machine on which the lab cannot work."""
    if os.geteuid() != 0:
        raise LabError("the lab starts containers and an engine: run it as root")
    if platform.freedesktop_os_release().get("ID") != "debian":
        raise LabError("the lab is made for a Debian 12 machine; this is another system")


def install_packages(*, kernels: bool) -> None:
    """Install the Debian packages that are missing, and say which before it happens."""
    wanted = NEEDED + (NEEDED_FOR_KERNELS if kernels else [])
    if not (shutil.which("docker") and shutil.which("dockerd")):
        wanted.append("docker.io")
    listed = output(["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev} ${Package}\n"]).splitlines()
    present = {line.split()[1] for line in listed if line.startswith("ii")}
    missing = [package for package in wanted if package not in present]
    if not missing:
        return
    say(f"    installing Debian packages: {' '.join(missing)}")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    logged(["apt-get", "update"], LAB / "packages.log", timeout=300, env=env)
    logged(
        ["apt-get", "install", "--yes", "--no-install-recommends", *missing],
        LAB / "packages.log",
        timeout=900,
        env=env,
    )


def make_venv() -> None:
    """Bring `.venv` to what requirements.lock says, unless it is there already."""
    logged([str(REPOSITORY / "tests/make_venv"), ".venv", "requirements.lock"], LAB / "venv.log", timeout=1200)


def _apt_sources() -> list[tuple[str, str]]:
    """(suite, address) of every enabled binary package source of this machine, in its own order."""
    root = Path("/etc/apt")
    found = []
    for path in [root / "sources.list", *sorted((root / "sources.list.d").glob("*"))]:
        if path.suffix == ".list" and path.exists():
            lines = re.findall(r"^\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", path.read_text(), re.MULTILINE)
            found += [(suite, uri.rstrip("/")) for uri, suite in lines]
        elif path.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", path.read_text()):
                fields = {
                    key.lower(): value.split()
                    for key, _, value in (line.partition(":") for line in stanza.splitlines())
                    if not key.startswith("#")
                }
                if "deb" in fields.get("types", []) and fields.get("enabled") != ["no"]:
                    found += [(suite, uri.rstrip("/")) for suite in fields["suites"] for uri in fields["uris"]]
    return found


def mirrors() -> tuple[str, str]:
    """The addresses of Debian's archive and of its security archive, from this machine's own apt sources."""
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    sources = dict(reversed(_apt_sources()))
    try:
        return sources[codename], sources[f"{codename}-security"]
    except KeyError as error:
        raise LabError(f"no source for {error} in /etc/apt: the lab takes Debian's mirrors from there") from error


def extra_certificates() -> list[Path]:
    """The CA certificates that this machine trusts beyond Debian's own set, one file each under .lab/ca."""
    pem = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
    stock = {
        ssl.PEM_cert_to_DER_cert(path.read_text()) for path in Path("/usr/share/ca-certificates/mozilla").glob("*.crt")
    }
    folder = LAB / "ca"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = []
    for text in dict.fromkeys(pem.findall(Path("/etc/ssl/certs/ca-certificates.crt").read_text())):
        der = ssl.PEM_cert_to_DER_cert(text)
        if der not in stock:
            path = folder / f"{hashlib.sha256(der).hexdigest()[:12]}.crt"
            path.write_text(text + "\n")
            made.append(path)
    return sorted(made)


def pip_index_url() -> str:
    """This machine's own package index for pip, "" for pip's default."""
    homes = (Path("/etc/xdg/pip"), Path("/etc"), Path.home() / ".pip", Path.home() / ".config/pip")
    settings = configparser.ConfigParser(interpolation=None)
    settings.read([*(home / "pip.conf" for home in homes), os.environ.get("PIP_CONFIG_FILE", "")])
    return os.environ.get("PIP_INDEX_URL", settings.get("global", "index-url", fallback=""))


def npm_registry() -> str:
    """This machine's own registry for npm, "" for npm's default."""
    for name, value in os.environ.items():
        if name.lower() == "npm_config_registry":
            return value
    for path in (Path.home() / ".npmrc", Path("/etc/npmrc"), Path("/usr/etc/npmrc")):
        if path.exists() and (match := re.search(r"^\s*registry\s*=\s*(\S+)", path.read_text(), re.MULTILINE)):
            return match[1]
    return ""


def nameservers() -> list[str]:
    """Name servers that a container can ask too (one on loopback is not)."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if path.exists():
            found = re.findall(r"^nameserver\s+(\S+)", path.read_text(), re.MULTILINE)
            if usable := [address for address in found if not address.startswith(("127.", "::1"))]:
                return usable
    raise LabError("no name server beyond loopback in /etc/resolv.conf: the lab's hosts could not resolve names")
