"""Membership against an engine in memory; tests/integration does the same against real ones."""

from __future__ import annotations

import datetime
import json
import typing as t
from pathlib import Path

import pytest
import swarm_member
from ansible.module_utils.swarmhub import member, swarm
from ansible.module_utils.swarmhub.engine import EngineError
from ansible.module_utils.swarmhub.member import absent, first_answering, present, with_settings
from ansible.module_utils.swarmhub.swarm import Refused, certificate_cluster
from ansible.module_utils.testing import patch_module_args
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fake_engine import UNLOCK_KEY, FakeEngine, FakeSwarm

DEFAULTS: dict[str, t.Any] = {
    "role": "worker",
    "cluster_id": "",
    "remote_addrs": [],
    "join_token": None,
    "advertise_addr": None,
    "listen_addr": "0.0.0.0:2377",
    "data_path_addr": None,
    "data_path_port": None,
    "default_addr_pool": None,
    "subnet_size": None,
    "dispatcher_heartbeat": None,
    "task_history_limit": None,
    "autolock": None,
    "unlock_key": None,
    "move": False,
    "return_tokens": False,
    "force": False,
    "timeout": 5,
}


def wanted(**options: t.Any) -> dict[str, t.Any]:
    assert options.keys() <= DEFAULTS.keys()
    return {**DEFAULTS, **options}


def joining(role: str = "worker", cluster: str = "cluster-a") -> dict[str, t.Any]:
    return wanted(role=role, cluster_id=cluster, remote_addrs=["mgr:2377"], join_token=f"{cluster}-{role}-token")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only where somebody sleeps, and managers always answer."""
    now = [0.0]
    monkeypatch.setattr(swarm.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(swarm.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(member, "first_answering", lambda addresses, _host: list(addresses))


@pytest.fixture
def cluster() -> FakeSwarm:
    """A swarm of one manager."""
    cluster = FakeSwarm()
    cluster.add_node("mgr1", role="manager")
    return cluster


@pytest.fixture
def host(cluster: FakeSwarm, tmp_path: Path) -> FakeEngine:
    """A host in no swarm that reaches the cluster, and has that cluster's certificate once it is a node."""
    write_certificate(tmp_path, cluster.cluster_id)
    host = FakeEngine("cpu1", root=str(tmp_path))
    host.peers["mgr:2377"] = cluster
    return host


def manager_of(cluster: FakeSwarm) -> FakeEngine:
    return FakeEngine("mgr1", cluster, next(iter(cluster.nodes)))


def write_certificate(root: Path, organization: str) -> None:
    """Write a node certificate as swarmkit does: the cluster is the organization of its subject."""
    key = ec.generate_private_key(ec.SECP256R1())
    day = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "swarm-worker"),
            x509.NameAttribute(NameOID.COMMON_NAME, "node"),
        ]
    )
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca")])
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), 1, day, day)
    folder = root / "swarm" / "certificates"
    folder.mkdir(parents=True, exist_ok=True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "swarm-node.crt").write_bytes(pem)


def test_the_first_manager_founds_a_swarm_with_the_given_settings_only() -> None:
    host = FakeEngine("mgr1")
    options = wanted(role="manager", dispatcher_heartbeat=7, default_addr_pool=["10.30.0.0/16"], return_tokens=True)
    predicted = present(host, options, check_mode=True)
    assert predicted["changed"]
    assert predicted["join_tokens"] == {"worker": "", "manager": "", "unlock_key": ""}
    assert host.state == "inactive"
    founded = present(host, options)
    assert founded["changed"]
    assert founded["cluster_id"] == "cluster-new"
    assert founded["join_tokens"]["worker"] == "cluster-new-worker-token"
    assert host.swarm is not None
    assert host.swarm.cluster["SubnetSize"] == 24, "with 0 the engine makes no network at all"
    assert host.swarm.cluster["Spec"]["Dispatcher"] == {"HeartbeatPeriod": 7_000_000_000}
    assert host.swarm.cluster["Spec"]["Orchestration"] == {"TaskHistoryRetentionLimit": 5}
    assert not present(host, options)["changed"]


def test_a_worker_without_an_address_to_join_never_founds_a_swarm() -> None:
    host = FakeEngine("cpu1")
    with pytest.raises(Refused, match="cpu1 cannot join: remote_addrs"):
        present(host, wanted())
    assert host.state == "inactive"


def test_a_manager_of_a_known_cluster_never_founds_another() -> None:
    with pytest.raises(Refused, match="cannot join cluster cluster-a"):
        present(FakeEngine("mgr2"), wanted(role="manager", cluster_id="cluster-a"))


@pytest.mark.parametrize("role", ["worker", "manager"])
def test_joining(host: FakeEngine, role: str) -> None:
    result = present(host, joining(role))
    assert result["changed"]
    assert (result["state"], result["role"]) == ("active", role)
    assert result["managers"] == ["10.0.0.1:2377"]


def test_a_join_that_timed_out_is_waited_for(host: FakeEngine) -> None:
    host.join_polls = 4
    assert present(host, joining())["state"] == "active"


def test_a_join_that_never_comes_through_is_no_success(host: FakeEngine) -> None:
    host.join_polls = 1000
    with pytest.raises(Refused, match="cpu1 is still pending 5 s after"):
        present(host, joining())


def test_the_run_after_a_join_that_timed_out_begins_it_anew(host: FakeEngine) -> None:
    host.state, host.node_id = "error", ""
    assert present(host, joining())["changed"]
    assert host.state == "active"


def test_the_engines_own_refusal_of_a_join_is_passed_on(host: FakeEngine) -> None:
    with pytest.raises(EngineError, match="invalid join token"):
        present(host, {**joining(), "join_token": "nonsense"})


def test_a_manager_of_another_cluster_is_refused(cluster: FakeSwarm) -> None:
    with pytest.raises(Refused, match="mgr1 is in cluster cluster-a, not in cluster-b"):
        present(manager_of(cluster), joining("manager", "cluster-b"))


def test_a_worker_of_another_cluster_is_refused_by_its_certificate(cluster: FakeSwarm, tmp_path: Path) -> None:
    write_certificate(tmp_path, "cluster-a")
    worker = FakeEngine("cpu1", cluster, cluster.add_node("cpu1"), str(tmp_path))
    assert present(worker, joining())["changed"] is False
    with pytest.raises(Refused, match="cpu1 is in cluster cluster-a, not in cluster-b"):
        present(worker, joining("worker", "cluster-b"))


def test_a_certificate_that_may_not_be_read_is_no_crash(
    cluster: FakeSwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_certificate(tmp_path, "cluster-a")
    monkeypatch.setattr(swarm.os, "access", lambda _path, _mode: False)  # what anybody but root would see
    worker = FakeEngine("cpu1", cluster, cluster.add_node("cpu1"), str(tmp_path))
    with pytest.raises(Refused, match="as root"):
        present(worker, joining())


def test_a_worker_whose_cluster_cannot_be_told_is_refused(cluster: FakeSwarm) -> None:
    worker = FakeEngine("cpu1", cluster, cluster.add_node("cpu1"))
    with pytest.raises(Refused, match=r"certificate is not.*readable"):
        present(worker, joining())


def test_a_certificate_without_an_organization_names_no_cluster(tmp_path: Path) -> None:
    write_certificate(tmp_path, "o" * 25)
    pem = (tmp_path / swarm.NODE_CERTIFICATE).read_text()
    assert certificate_cluster(pem) == "o" * 25
    assert certificate_cluster(f"{pem}{pem}") == "o" * 25


def test_another_role_is_reported_and_not_changed(cluster: FakeSwarm) -> None:
    result = present(manager_of(cluster), wanted(role="worker"))
    assert not result["changed"]
    assert result["role"] == "manager"
    assert result["warnings"] == ["mgr1 is a manager and should be a worker: swarm_nodes on a manager changes roles"]


def test_a_locked_manager_is_refused(cluster: FakeSwarm) -> None:
    host = manager_of(cluster)
    host.state = "locked"
    with pytest.raises(Refused, match="give unlock_key, or run `docker swarm unlock`"):
        present(host, wanted(role="manager"))
    with pytest.raises(Refused, match="unlock it first"):
        absent(host, wanted())


def test_a_member_that_is_cut_off_is_not_taken_for_a_new_host(host: FakeEngine) -> None:
    host.state, host.node_id, host.error = "error", "node-1", "certificate has expired"
    with pytest.raises(Refused, match=r"node node-1 of cluster cluster-a .*\(certificate has expired\)"):
        present(host, joining())
    assert host.state == "error"


def test_a_manager_without_quorum_is_refused(cluster: FakeSwarm) -> None:
    host = manager_of(cluster)
    host.error = "The swarm does not have a leader"
    with pytest.raises(Refused, match=r"without a quorum \(The swarm does not have a leader\)"):
        present(host, wanted(role="manager"))


def test_changing_one_setting_resets_no_other_and_survives_a_conflict(cluster: FakeSwarm) -> None:
    cluster.cluster["Spec"] |= {"Labels": {"team": "ml"}, "EncryptionConfig": {"AutoLockManagers": True}}
    cluster.cluster["Spec"]["Orchestration"]["Sibling"] = "kept"
    host, options = manager_of(cluster), wanted(role="manager", task_history_limit=2)
    predicted = present(host, options, check_mode=True)
    assert cluster.cluster["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 5
    cluster.conflicts = 3
    result = present(host, options)
    assert result["changed"]
    assert result["diff"] == predicted["diff"]
    assert cluster.cluster["Spec"]["Orchestration"] == {"TaskHistoryRetentionLimit": 2, "Sibling": "kept"}
    assert cluster.cluster["Spec"]["Labels"] == {"team": "ml"}
    assert cluster.cluster["Spec"]["EncryptionConfig"] == {"AutoLockManagers": True}
    assert not present(host, options)["changed"]


def test_false_and_zero_are_settings_too() -> None:
    spec = {"EncryptionConfig": {"AutoLockManagers": True}}
    merged = with_settings(spec, wanted(autolock=False, task_history_limit=0))
    assert merged["EncryptionConfig"] == {"AutoLockManagers": False}
    assert merged["Orchestration"] == {"TaskHistoryRetentionLimit": 0}


def test_updates_that_always_meet_a_conflict_end(cluster: FakeSwarm) -> None:
    cluster.conflicts = 1000
    with pytest.raises(Refused, match="changed by somebody else"):
        present(manager_of(cluster), wanted(role="manager", autolock=True))


@pytest.mark.parametrize(
    ("option", "value"), [("default_addr_pool", ["10.9.0.0/16"]), ("subnet_size", 20), ("data_path_port", 4000)]
)
def test_what_a_swarm_keeps_for_life_is_refused(cluster: FakeSwarm, option: str, value: t.Any) -> None:
    with pytest.raises(Refused, match=f"{option} of the swarm is"):
        present(manager_of(cluster), wanted(role="manager", **{option: value}))


def test_leaving(cluster: FakeSwarm, host: FakeEngine) -> None:
    present(host, joining())
    assert absent(host, wanted(), check_mode=True)["changed"]
    assert host.state == "active"
    assert absent(host, wanted())["changed"]
    assert host.state == "inactive"
    assert not absent(host, wanted())["changed"]


def test_a_manager_beside_others_stays(cluster: FakeSwarm) -> None:
    cluster.add_node("mgr2", role="manager", state="down")
    with pytest.raises(Refused, match="mgr1 is a manager beside mgr2: demote it first"):
        absent(manager_of(cluster), wanted())
    assert absent(manager_of(cluster), wanted(force=True))["changed"]


@pytest.mark.parametrize("state", ["ready", "down"])
def test_the_last_manager_leaves_after_its_workers(cluster: FakeSwarm, state: str) -> None:
    worker = cluster.add_node("cpu1", state=state)
    with pytest.raises(Refused, match=rf"the last manager of cpu1 \({state}\): let those leave"):
        absent(manager_of(cluster), wanted())
    del cluster.nodes[worker]
    assert absent(manager_of(cluster), wanted())["changed"]


def test_a_host_on_which_tasks_run_stays(cluster: FakeSwarm, host: FakeEngine) -> None:
    present(host, joining())
    cluster.run(host.node_id, "alice")
    for check_mode in (True, False):
        with pytest.raises(Refused, match="cpu1 still runs nb-alice: drain it first"):
            absent(host, wanted(), check_mode=check_mode)
    assert absent(host, wanted(force=True))["changed"]
    assert host.state == "inactive"


def test_a_worker_moves_to_another_cluster_when_told_to(host: FakeEngine, tmp_path: Path) -> None:
    old = FakeSwarm("cluster-b")
    host.swarm, host.state, host.node_id = old, "active", old.add_node("cpu1")
    write_certificate(tmp_path, "cluster-b")
    options = {**joining(), "move": True}
    old.run(host.node_id, "alice")
    with pytest.raises(Refused, match="still runs nb-alice"):
        present(host, options)
    old.tasks.clear()
    predicted = present(host, options, check_mode=True)
    assert host.swarm is old
    host.on_join = lambda: write_certificate(tmp_path, "cluster-a")
    result = present(host, options)
    assert (result["changed"], result["diff"]) == (predicted["changed"], predicted["diff"])
    assert result["cluster_id"] == "cluster-a"
    assert not present(host, options)["changed"]


def test_a_host_is_never_moved_to_a_cluster_that_was_not_named(cluster: FakeSwarm) -> None:
    assert not present(manager_of(cluster), wanted(role="manager", move=True))["changed"]


def test_a_locked_manager_is_unlocked_with_the_key(cluster: FakeSwarm) -> None:
    host, options = manager_of(cluster), wanted(role="manager", unlock_key=UNLOCK_KEY)
    host.state = "locked"
    predicted = present(host, options, check_mode=True)
    assert host.state == "locked"
    with pytest.raises(EngineError, match="invalid key"):
        present(host, {**options, "unlock_key": "nonsense"})
    result = present(host, options)
    assert (result["changed"], result["diff"]) == (predicted["changed"], predicted["diff"])
    assert result["diff"]["after"] == {**result["diff"]["before"], "state": "active"}
    assert host.state == "active"
    assert not present(host, options)["changed"]


def test_nobody_answers() -> None:
    with pytest.raises(Refused, match=r"cpu1 reaches no manager: 127\.0\.0\.1:1 .*, 127\.0\.0\.1:2377"):
        first_answering(["127.0.0.1:1", "127.0.0.1"], "cpu1")


def test_the_module_itself(
    cluster: FakeSwarm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(swarm_member, "DockerEngine", lambda _docker_host: manager_of(cluster))
    with patch_module_args({"role": "manager", "cluster_id": "cluster-a"}), pytest.raises(SystemExit) as ended:
        swarm_member.main()
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["cluster_id"] == "cluster-a"
    with patch_module_args({"role": "manager", "cluster_id": "cluster-b"}), pytest.raises(SystemExit) as ended:
        swarm_member.main()
    assert ended.value.code == 1
    assert "cluster-b" in json.loads(capsys.readouterr().out)["msg"]
