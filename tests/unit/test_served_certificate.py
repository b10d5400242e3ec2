"""Which certificate a host shows: listeners of this machine's own."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import sys
import typing as t
from pathlib import Path
from threading import Thread, Timer

import pytest
import yaml
from ansible.module_utils.swarmhub.served_certificate import HOST, fault, fingerprint
from certificates import Signed, sign
from cryptography.hazmat.primitives import hashes
from rendering import ROOT, run_play

AUTHORITY = sign()
OLD, NEW = (sign("hub.example.org", authority=AUTHORITY) for _ in range(2))


class Front:
    """Shows a certificate, and another once it is told."""

    def __init__(self, folder: Path, shown: Signed) -> None:
        self.folder = folder
        self.reload(shown)
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        Thread(target=self.serve, daemon=True).start()

    def reload(self, shown: Signed) -> None:
        pem = self.folder / "front.pem"
        pem.write_text(shown.pem + AUTHORITY.pem + shown.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.context = context

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # the end of the test
            while True:
                connection, _ = self.listener.accept()
                with contextlib.suppress(OSError), self.context.wrap_socket(connection, server_side=True):
                    pass


@pytest.fixture
def front(tmp_path: Path) -> t.Iterator[Front]:
    front = Front(tmp_path, OLD)
    yield front
    front.listener.close()


def test_the_fingerprint_is_that_of_the_first_certificate() -> None:
    digest = NEW.certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    assert fingerprint(f"subject=hub\n{NEW.pem}{AUTHORITY.pem}") == digest
    with pytest.raises(ValueError, match="no certificate in PEM form"):
        fingerprint(NEW.key_pem)


def test_what_is_shown_is_the_files_or_is_told(front: Front) -> None:
    assert fault(front.port, OLD.pem + AUTHORITY.pem, 0) == ""
    assert fault(front.port, NEW.pem + AUTHORITY.pem, 0) == (
        f"shows another certificate at port {front.port} (SHA-256 {fingerprint(OLD.pem)}) "
        f"than the file has ({fingerprint(NEW.pem)})"
    )


def test_a_reload_takes_its_time(front: Front) -> None:
    Timer(1, front.reload, [NEW]).start()
    assert fault(front.port, NEW.pem, 20) == ""


def hang_up(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_a_port_where_nobody_listens_or_nobody_speaks_tls() -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        Thread(target=hang_up, args=[listener]).start()
        assert fault(port, NEW.pem, 0).startswith(f"shows no certificate at port {port}: ")
    assert "Connection refused" in fault(port, NEW.pem, 0)


def test_verify_names_a_front_that_shows_another_though_its_probe_fails(front: Front, tmp_path: Path) -> None:
    (other := tmp_path / "other").mkdir()
    renewed = Front(other, NEW)
    (file := tmp_path / "hub.crt").write_text(NEW.pem)
    look, _, walk = yaml.safe_load((ROOT / "playbooks/verify.yml").read_text())
    walk["tasks"][0]["block"] = [{"ansible.builtin.fail": {"msg": "the probe fails"}}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump([look, walk]))
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {
        "right": {**local, "hub_port": renewed.port},
        "stale": {**local, "hub_port": front.port},
        "gone": {"ansible_host": HOST, "ansible_port": 9, "ansible_ssh_retries": 0},
    }
    managers = {"hosts": hosts, "vars": {"hub_tls_certificate": str(file)}}
    (tmp_path / "hosts.json").write_text(json.dumps({"managers": managers}))
    done = run_play(tmp_path / "hosts.json", tmp_path / "play.yml")
    renewed.listener.close()
    assert done.returncode == 2, done.stdout + done.stderr
    told = " ".join(done.stdout.split())
    assert "the probe fails" in told
    assert set(re.findall(r"(\w+): it shows another certificate at port (\d+)", told)) == {("stale", str(front.port))}
