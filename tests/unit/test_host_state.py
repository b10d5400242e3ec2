"""The look, at the machine that runs the tests."""

from __future__ import annotations

import hashlib
import json
import socketserver
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub import host_state
from ansible.module_utils.swarmhub.engine import EngineError
from ansible.module_utils.swarmhub.swarm import named_resources

NOTHING: dict[str, t.Any] = {
    "packages": [],
    "candidates": [],
    "files": [],
    "units": [],
    "sysctls": [],
    "kernel_modules": [],
    "secrets_dir": None,
    "cards": False,
    "exports": None,
    "file_systems": [],
    "firewall": None,
    "postgres": None,
}


def test_a_look_finds_what_is_there_and_names_what_is_not(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.write_text("content")
    here.chmod(0o640)
    state = host_state.look(
        {
            **NOTHING,
            "packages": ["dpkg", "no-such-package"],
            "candidates": ["bash", "dpkg", "no-such-package", "mail-transport-agent"],
            "files": [str(here), str(tmp_path / "missing"), str(tmp_path), f"{tmp_path}/h*"],
            "sysctls": ["net.ipv4.ip_forward", "net.no.such"],
        }
    )
    assert list(state["packages"]) == ["dpkg"]
    # A virtual package has none.
    assert set(state["candidates"]) == {"bash", "dpkg"}
    assert state["candidates"]["dpkg"] >= state["packages"]["dpkg"]["version"]
    assert state["files"][str(here)]["sha256"] == hashlib.sha256(b"content").hexdigest()
    assert state["files"][str(here)]["mode"] == "0640"
    status = here.stat()
    assert (state["files"][str(here)]["uid"], state["files"][str(here)]["gid"]) == (status.st_uid, status.st_gid)
    assert state["files"][str(tmp_path)]["type"] == "directory"
    assert state["files"][str(tmp_path / "missing")] is None
    assert state["sysctls"]["net.ipv4.ip_forward"] in ("0", "1")
    assert state["sysctls"]["net.no.such"] is None
    assert state["memory_mb"] > 0
    assert abs(state["time"] - time.time()) < 60


def test_secrets_come_back_as_fingerprints_only(tmp_path: Path) -> None:
    (tmp_path / "cookie_secret").write_text("c" * 64)
    (tmp_path / "db_password").write_text("hunter2")
    found = host_state.fingerprints(str(tmp_path))
    assert set(found) == {"cookie_secret", "db_password"}
    assert "hunter2" not in str(found)
    (tmp_path / "cookie_secret").write_text("d" * 64)
    assert host_state.fingerprints(str(tmp_path))["db_password"] != found["db_password"]


def test_secrets_that_others_may_read_are_named(tmp_path: Path) -> None:
    for name, mode in (("cookie_secret", 0o600), ("db_password", 0o640)):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(mode)
    assert host_state.open_secrets(str(tmp_path)) == ["db_password"]
    assert host_state.open_secrets(str(tmp_path / "none")) == []


def test_a_swarm_resource_that_is_commented_out_does_not_count_as_set(tmp_path: Path, monkeypatch: t.Any) -> None:
    config = tmp_path / "config.toml"
    monkeypatch.setattr(host_state, "TOOLKIT_CONFIG", config)
    assert host_state.swarm_resource() == ""
    config.write_text('#swarm-resource = "DOCKER_RESOURCE_GPU"\n')
    assert host_state.swarm_resource() == ""
    config.write_text('swarm-resource = "DOCKER_RESOURCE_GPU"\n[x]\n')
    assert host_state.swarm_resource() == "DOCKER_RESOURCE_GPU"


def test_a_kernels_parts_are_found_built_in_loaded_or_as_modules(tmp_path: Path, monkeypatch: t.Any) -> None:
    symbols = tmp_path / "kallsyms"
    symbols.write_text("0000000000000000 t esp4_rcv_cb\n0000000000000000 t ip_vs_in_hook\t[ip_vs]\n")
    monkeypatch.setattr(host_state, "KERNEL_SYMBOLS", symbols)
    monkeypatch.setattr(host_state, "run", lambda *command: "insmod x.ko\n" if command[-1] == "xfs" else "")
    names = ["esp4", "ip_vs", "xfs", "vs"]
    assert host_state.kernel_modules(names) == {"esp4": True, "ip_vs": True, "xfs": True, "vs": False}
    symbols.unlink()
    assert host_state.kernel_modules(["esp4"]) == {"esp4": False}


def test_each_address_has_the_mtu_of_its_interface(monkeypatch: t.Any) -> None:
    links = [
        {"ifname": "eth0", "mtu": 1450, "addr_info": [{"local": "10.0.0.5", "prefixlen": 24}]},
        {"ifname": "docker0", "mtu": 1500, "addr_info": [{"local": "172.30.1.1", "prefixlen": 24}]},
    ]
    routes = [{"dst": "10.0.0.0/24", "dev": "eth0"}, {"dst": "172.30.1.0/24", "dev": "docker0"}]
    monkeypatch.setattr(host_state, "run", lambda *command: json.dumps(links if "address" in command else routes))
    assert host_state.addresses() == ({"10.0.0.5/24": 1450}, ["10.0.0.0/24"])


def test_what_an_engine_advertises_is_sorted_by_kind_and_value() -> None:
    named = [("GPU", "b"), ("MIG_1G_10GB", "m"), ("GPU", "a")]
    resources = [{"NamedResourceSpec": {"Kind": kind, "Value": value}} for kind, value in named]
    resources.append({"DiscreteResourceSpec": {"Kind": "SSD", "Value": 3}})
    assert named_resources({"GenericResources": resources}) == {"GPU": ["a", "b"], "MIG_1G_10GB": ["m"]}
    assert named_resources({"GenericResources": None}) == {}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n[1, 2]", "[1, 2]"),
        (
            b'HTTP/1.0 503 Service Unavailable\r\n\r\n{"message": "no quorum"}',
            '503 GET /nodes: {"message": "no quorum"}',
        ),
        (b'HTTP/1.0 200 OK\r\n\r\n{"half', "0 the engine hung up before its answer was complete"),
        (b"", "0 the engine hung up before its answer was complete"),
    ],
)
def test_the_engine_is_asked_by_its_socket(tmp_path: Path, monkeypatch: t.Any, answer: bytes, told: str) -> None:
    asked = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline())
            self.wfile.write(answer)

    monkeypatch.setattr(host_state, "ENGINE_SOCKET", str(tmp_path / "socket"))
    with socketserver.UnixStreamServer(str(tmp_path / "socket"), Handler) as server:
        (thread := threading.Thread(target=server.handle_request)).start()
        try:
            found = json.dumps(host_state.LocalEngine().request("GET", "/nodes"))
        except EngineError as error:
            found = f"{error.status} {error}"
        thread.join()
    assert found == told
    assert asked == [b"GET /nodes HTTP/1.0\r\n"]


def test_an_engine_that_runs_and_does_not_answer_is_told_from_one_that_is_stopped(monkeypatch: t.Any) -> None:
    def silent(*_: t.Any, **__: t.Any) -> t.Any:
        raise EngineError("GET", "/version", 0, "timed out")

    monkeypatch.setattr(host_state.LocalEngine, "request", silent)
    for active, fault in (("active", "timed out"), ("inactive", "")):
        monkeypatch.setattr(host_state, "run", lambda *_, active=active: active)
        assert host_state.engine() == (None, fault)


def test_cards_are_looked_for_only_where_they_are_asked_for(monkeypatch: t.Any) -> None:
    fault = {"card": None, "what": "x", "cure": "y", "reboot": False}
    monkeypatch.setattr(host_state.gpus, "read", lambda: {"cards": [], "faults": [fault]})
    assert host_state.look({**NOTHING, "cards": True})["card_faults"] == [fault]
    assert host_state.look(NOTHING)["card_faults"] == []


def test_the_toolkits_mode_is_that_of_its_own_table(tmp_path: Path, monkeypatch: t.Any) -> None:
    config = tmp_path / "config.toml"
    monkeypatch.setattr(host_state, "TOOLKIT_CONFIG", config)
    assert host_state.toolkit_mode() == ""
    config.write_text('[other]\nmode = "x"\n[nvidia-container-runtime]\n#mode = "y"\n[last]\nmode = "z"\n')
    assert host_state.toolkit_mode() == ""
    config.write_text('[nvidia-container-runtime]\nlog-level = "info"\nmode = "legacy"\n\n[modes]\nmode = "z"\n')
    assert host_state.toolkit_mode() == "legacy"


def test_exports_of_other_files_are_told_apart(monkeypatch: t.Any, tmp_path: Path) -> None:
    for folder in ("etc/exports.d", "var/lib/nfs"):
        (tmp_path / folder).mkdir(parents=True)
    # As exportfs 2.6.2 writes it.
    (tmp_path / "var/lib/nfs/etab").write_text(
        "/srv/homes\t10.0.0.0/8(rw,sync,wdelay,hide,nocrossmnt,secure,root_squash,all_squash,no_subtree_check,secure_locks,"
        "acl,no_pnfs,anonuid=1000,anongid=100,sec=sys,rw,root_squash,all_squash)\n"
        "/srv/homes\tbackup(ro,sync)\n"
        "/srv/two\\040words\t*(ro,sync,insecure)\n"
    )
    (tmp_path / "etc/exports").write_text("# old: /srv/homes 10.0.0.0/8(ro)\n/srv/homes  \\\n backup(ro)\n")
    (tmp_path / "etc/exports.d/ours.exports").write_text("/srv/homes 10.0.0.0/8(rw)\n")
    (tmp_path / "etc/exports.d/theirs.exports").write_text('"/srv/two words" *(ro)\n')
    real = Path
    monkeypatch.setattr(host_state, "Path", lambda path: real(f"{tmp_path}{path}"))
    found = host_state.exports(f"{tmp_path}/etc/exports.d/ours.exports")
    assert [(each["path"], each["client"], each["elsewhere"]) for each in found] == [
        ("/srv/homes", "10.0.0.0/8", False),
        ("/srv/homes", "backup", True),
        ("/srv/two words", "*", True),
    ]
    assert {"secure", "all_squash", "anonuid=1000"} <= set(found[0]["options"])


def test_the_file_system_of_a_path_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "2 1 8:2 / /srv rw,noatime - xfs /dev/sdb1 rw,attr2,prjquota\n"
        "3 1 8:3 / /srv2 rw - btrfs /dev/sdc1 rw\n"
    )
    found = host_state.file_system("/srv/swarmhub/homes", str(mounts))
    assert found["type"] == "xfs"
    assert {"prjquota", "noatime"} <= set(found["options"])
    assert host_state.file_system("/srvx", str(mounts))["type"] == "ext4"
    assert host_state.file_system("/")["type"]
