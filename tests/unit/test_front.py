"""The front's configuration, as Ansible renders it and as haproxy reads it."""

from __future__ import annotations

import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml
from certificates import sign
from rendering import ROOT, render

SIGNED = sign("hub.example.org")
OPEN = {
    "front_certificate": SIGNED.pem,
    "front_key": SIGNED.key_pem,
    "front_proxies": ["10.77.0.12", "10.77.0.11"],
}
HOSTS: dict[str, dict[str, t.Any]] = {"open": OPEN, "elsewhere": {**OPEN, "front_port": 8443}, "closed": {}}


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, t.Any]:
    inventory = {"all": {"hosts": HOSTS}}
    return render(tmp_path_factory.mktemp("front"), inventory, ["front"], {"owned": "{{ front_owned }}"})


def test_haproxy_takes_it(owned: dict[str, t.Any], tmp_path: Path) -> None:
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    assert haproxy, "haproxy is not installed: apt-get install haproxy"
    for name in ("open", "elsewhere"):
        config, pem = owned[name]["owned"]["files"]
        (tmp_path / "front.pem").write_text(pem["content"])
        (tmp_path / "haproxy.cfg").write_text(config["content"].replace(pem["path"], str(tmp_path / "front.pem")))
        command = [haproxy, "-c", "-f", str(tmp_path / "haproxy.cfg")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, "warning" in (done.stdout + done.stderr).lower()) == (0, False), done.stderr


def test_the_key_is_a_secret_and_what_is_read_is_watched(owned: dict[str, t.Any]) -> None:
    config, pem = owned["open"]["owned"]["files"]
    assert (pem["mode"], pem["secret"], pem["content"]) == ("0600", True, SIGNED.pem + SIGNED.key_pem)
    (unit,) = owned["open"]["owned"]["units"]
    assert (unit["after"], unit["reloads"]) == ([config["path"], pem["path"]], True)


def test_a_managers_own_proxy_comes_first_and_people_are_sent_to_the_right_port(owned: dict[str, t.Any]) -> None:
    config = owned["open"]["owned"]["files"][0]["content"].splitlines()
    servers = [line.split()[1:] for line in config if line.startswith("  server")]
    assert servers == [["10.77.0.12", "10.77.0.12:8000"], ["10.77.0.11", "10.77.0.11:8000", "backup"]]
    redirects = [
        line.split()[-1]
        for name in ("open", "elsewhere")
        for line in owned[name]["owned"]["files"][0]["content"].splitlines()
        if "redirect code" in line
    ]
    host = "https://%[req.hdr(host),field(1,:)]"
    assert redirects == [f"{host}%[pathq]", f"{host}:8443%[pathq]"]


def test_without_a_certificate_there_is_none(owned: dict[str, t.Any]) -> None:
    closed = {"files": [{"path": "/etc/swarmhub/front.pem", "absent": True}], "look_also_units": ["haproxy.service"]}
    assert owned["closed"]["owned"] == closed


def test_who_takes_the_front_away_needs_no_certificate(tmp_path: Path) -> None:
    inventory = {"managers": {"hosts": {"m": {"hub_tls_certificate": "/gone.crt", "hub_tls_key": "/gone.key"}}}}
    taken = yaml.safe_load((ROOT / "playbooks/vars/paths_only.yml").read_text())
    found = render(tmp_path, inventory, ("cluster", "front"), {"owned": "{{ front_owned }}"}, vars=taken)
    assert [file["path"] for file in found["m"]["owned"]["files"]] == ["/etc/swarmhub/front.pem"]
