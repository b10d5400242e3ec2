"""The lab's package sources: a signed repository with the stand-ins for NVIDIA's packages, and the server for both."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from email.utils import formatdate
from pathlib import Path

from . import stand_ins
from .run import LabError, listening, output, wait_until
from .state import CACHE, LAB, State, alive, process_identity

REPOSITORY = LAB / "packages"
KEY = REPOSITORY / "key.asc"
PORT = 3142


def _sign(folder: Path) -> None:
    """Sign the repository with a key that is thrown away; only its public half stays."""
    with tempfile.TemporaryDirectory(prefix="swarmhub-") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        try:
            output([*gpg, "--quick-generate-key", "swarmhub lab <lab@localhost>", "ed25519", "sign", "never"])
            output([*gpg, "--clearsign", "--output", str(folder / "InRelease"), str(folder / "Release")])
            output([*gpg, "--armor", "--export", "--output", str(folder / KEY.name)])
        finally:
            output(["gpgconf", "--homedir", home, "--kill", "gpg-agent"])


def build_repository() -> Path:
    """Build the flat repository unless it is there already; return the package of nvidia-smi."""
    stamp = REPOSITORY / "sources.sha256"
    wanted = stand_ins.sources_hash()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(REPOSITORY, ignore_errors=True)
        REPOSITORY.mkdir(parents=True)
        stand_ins.build(REPOSITORY)
        index = output(["sh", "-c", f"cd '{REPOSITORY}' && dpkg-scanpackages --multiversion . 2>/dev/null"])
        (REPOSITORY / "Packages").write_text(index)
        digest = hashlib.sha256(index.encode()).hexdigest()
        (REPOSITORY / "Release").write_text(
            f"Origin: swarmhub lab\nLabel: stand-ins for NVIDIA packages\nArchitectures: all amd64\n"
            f"Date: {formatdate(usegmt=True)}\nSHA256:\n {digest} {len(index.encode())} Packages\n"
        )
        _sign(REPOSITORY)
        stamp.write_text(wanted)
    return stand_ins.deb(REPOSITORY, "nvidia-smi", stand_ins.DRIVER_VERSIONS[-1])


def url(state: State, name: str) -> str:
    """Where hosts find one of the server's sources: debian, debian-security or gpu."""
    return f"http://{state.address(1)}:{PORT}/{name}"


def start_server(state: State, mirrors: tuple[str, str]) -> None:
    """Start the package server on the lab's gateway unless it runs."""
    if alive(state.processes.get("package server", "")):
        return
    address = state.address(1)
    log = LAB / "package_server.log"
    command = [sys.executable, "-m", "labkit.package_server", address, str(PORT), str(CACHE / "apt"),
               f"debian={mirrors[0]}", f"debian-security={mirrors[1]}", f"gpu={REPOSITORY}"]  # fmt: skip
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=stand_ins.SHARED,
            start_new_session=True,
        )
    state.processes["package server"] = process_identity(process.pid)
    state.save()

    def ready() -> bool:
        if process.poll() is not None:
            raise LabError(f"the package server ended at once; the reason is in {log}")
        return listening(address, PORT)

    wait_until(ready, "the start of the package server", 20, 0.1)
