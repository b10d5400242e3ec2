"""What the monitoring host is told, and what each host tells it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.swarmhub import gpus
from ansible.module_utils.swarmhub.cluster import named_addresses
from labkit.cards import Description, describe
from rendering import ROOT, render

RULES = ROOT / "roles/monitoring/files/swarmhub.rules.yml"
CASES = ROOT / "tests/e2e/alerts.test.yml"
SCRIPT = ROOT / "roles/exporters/files/host_metrics.py"
spec = importlib.util.spec_from_file_location("host_metrics", SCRIPT)
assert spec is not None
assert spec.loader is not None
host_metrics = importlib.util.module_from_spec(spec)
spec.loader.exec_module(host_metrics)

UUIDS = [f"GPU-11111111-0000-4000-8000-00000000000{number}" for number in range(2)]


# --- what a host tells of itself ------------------------------------------------------------------------------------


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[t.Mapping[str, t.Any]], str]:
    """Return what the script tells of a host whose driver is the lab's stand-in."""
    program = tmp_path / "nvidia-smi"
    stand_in = ROOT / "molecule/shared/standins/nvidia_smi.py"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {stand_in} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SWARMHUB_LAB_CARDS", str(tmp_path / "cards"))

    def told(host: t.Mapping[str, t.Any]) -> str:
        (tmp_path / "cards").write_text(json.dumps(host))
        return str(host_metrics.text(host_metrics.cards(gpus.read, gpus.ask)))

    return told


def test_cards_tell_of_work_memory_and_heat(smi: t.Callable[[Description], str]) -> None:
    host = describe(UUIDS[:1])
    host["cards"][0] |= t.cast("t.Any", {"utilization": 25, "memory_used_mb": 2, "temperature": "[N/A]"})
    labels = f'{{uuid="{UUIDS[0]}",model="NVIDIA RTX A6000"}}'
    assert smi(host).splitlines() == [
        "# TYPE swarmhub_card_memory_bytes gauge",
        f"swarmhub_card_memory_bytes{labels} {49140 * 2**20}",
        "# TYPE swarmhub_card_fault gauge",
        "# TYPE swarmhub_card_utilization_ratio gauge",
        f"swarmhub_card_utilization_ratio{labels} 0.25",
        "# TYPE swarmhub_card_memory_used_bytes gauge",
        f"swarmhub_card_memory_used_bytes{labels} 2097152",
    ]


def test_a_lost_card_is_told_and_the_others_are_measured(smi: t.Callable[[Description], str]) -> None:
    told = smi(describe(UUIDS, lost={0}))
    (fault,) = (line for line in told.splitlines() if line.startswith("swarmhub_card_fault{"))
    assert "does not answer (Unknown Error)" in fault
    assert fault.endswith(" 1")
    assert re.findall(r'swarmhub_card_temperature_celsius\{uuid="([^"]+)"', told) == [UUIDS[1]]


def test_a_driver_that_is_not_loaded_is_a_fault_of_no_card(smi: t.Callable[[Description], str]) -> None:
    told = smi(describe(UUIDS, fault="not loaded"))
    assert 'swarmhub_card_fault{uuid="",what="the driver is installed and not loaded"' in told
    assert "swarmhub_card_memory_bytes{" not in told


@pytest.mark.parametrize(
    ("outcome", "due", "values"),
    [
        ('{"begun": 1795700000.5, "error": ""}', 1795699999, "1795700000.5 1 1795699999"),
        ('{"begun": 1795700000, "error": "it was cut off"}', 1795699999, "1795700000 0 1795699999"),
        ("", 0, "0 1 0"),
    ],
)
def test_backups_tell_when_they_were_begun_and_due(tmp_path: Path, outcome: str, due: int, values: str) -> None:
    last, stamp = tmp_path / "last.json", tmp_path / "stamp"
    if outcome:
        last.write_text(outcome)
        stamp.touch()
        os.utime(stamp, (due, due))
    told = host_metrics.text(host_metrics.backups(last, stamp))
    assert " ".join(line.split()[1] for line in told.splitlines() if line[0] != "#") == values


def test_the_file_is_whole_and_others_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "swarmhub.prom"
    subprocess.run([sys.executable, SCRIPT, file], check=True, timeout=20)
    assert (file.read_text(), oct(file.stat().st_mode)[-3:], list(tmp_path.iterdir())) == ("", "644", [file])


# --- alerts and dashboard -------------------------------------------------------------------------------------------


def alerts() -> list[dict[str, t.Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_each_alert_says_what_is_wrong_and_what_to_do_and_is_seen_to_fire() -> None:
    fired = re.findall(
        r'exp_samples.*?alertname="(\w+)"|^ +- \{labels: .{1,3}alertname="(\w+)"', CASES.read_text(), re.M
    )
    assert {alert["alert"] for alert in alerts()} == {name for pair in fired for name in pair if name}
    for alert in alerts():
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description"} == set(alert["annotations"]), alert["alert"]


def test_the_dashboards_panels_do_not_overlap_and_each_asks_something() -> None:
    board = json.loads((ROOT / "roles/monitoring/files/dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or all(target["expr"] for target in panel["targets"]), panel["title"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


# --- what the role writes -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, t.Any]:
    """What the role would write on three hosts."""
    hosts = {
        "plain": {"monitoring_here": True, "monitoring_hub_url": "http://192.0.2.11:8000"},
        "full": {
            "monitoring_here": True,
            "monitoring_hub_url": "https://hub.example.org/jupyter/",
            "monitoring_alert_webhook": "https://chat.example.org/token",
            "monitoring_others": [{"name": "store1", "address": "192.0.2.41"}],
            "monitoring_database": [{"name": "store1", "address": "192.0.2.41"}],
        },
    }
    shown = {
        "settings": "{{ monitoring_settings }}",
        "owned": "{{ monitoring_owned }}",
        "packages": "{{ monitoring_packages }}",
    }
    return render(tmp_path_factory.mktemp("monitoring"), {"all": {"hosts": hosts}}, ["monitoring"], shown)


def jobs(rendered: dict[str, t.Any], host: str) -> dict[str, t.Any]:
    return {job["job_name"]: job for job in rendered[host]["settings"]["scrape_configs"]}


def test_the_hub_is_asked_where_people_find_it_and_tells_of_the_nodes(rendered: dict[str, t.Any]) -> None:
    plain, full = jobs(rendered, "plain"), jobs(rendered, "full")
    assert (plain["hub"]["scheme"], plain["hub"]["static_configs"][0]["targets"], plain["hub"]["metrics_path"]) == (
        "http", ["192.0.2.11:8000"], "/hub/metrics",
    )  # fmt: skip
    assert (full["proxy"]["scheme"], full["proxy"]["static_configs"][0]["targets"], full["proxy"]["metrics_path"]) == (
        "https", ["hub.example.org"], "/jupyter/hub/metrics/proxy",
    )  # fmt: skip
    assert full["node"]["http_sd_configs"][0]["url"] == "https://hub.example.org/jupyter/hub/metrics/targets"
    assert full["entry"]["static_configs"][0]["targets"] == ["https://hub.example.org/_chp_healthz"]


def test_hosts_that_are_no_nodes_are_written_down(rendered: dict[str, t.Any]) -> None:
    assert jobs(rendered, "plain")["node"]["static_configs"] == []
    assert "postgres" not in jobs(rendered, "plain")
    store = {"labels": {"node": "store1"}}
    assert jobs(rendered, "full")["node"]["static_configs"] == [{"targets": ["192.0.2.41:9100"], **store}]
    assert jobs(rendered, "full")["postgres"]["static_configs"] == [{"targets": ["192.0.2.41:9187"], **store}]


def test_alertmanager_is_there_for_a_receiver_alone(rendered: dict[str, t.Any]) -> None:
    unit = "prometheus-alertmanager.service"
    plain, full = rendered["plain"], rendered["full"]
    assert ("prometheus-alertmanager" in plain["packages"], "prometheus-alertmanager" in full["packages"]) == (
        False,
        True,
    )
    assert [
        each.get("active", True) for host in (plain, full) for each in host["owned"]["units"] if each["name"] == unit
    ] == [
        False,
        True,
    ]
    (file,) = (each for each in full["owned"]["files"] if each["path"].endswith("alertmanager.yml"))
    assert (file["mode"], file["secret"]) == ("0600", True)
    assert yaml.safe_load(file["content"])["receivers"][0]["webhook_configs"] == [
        {"url": "https://chat.example.org/token"}
    ]


def test_a_host_is_known_by_its_address_or_where_ansible_reaches_it() -> None:
    hostvars = {"store1": {"swarm_node_address": "192.0.2.41"}, "store2": {"ansible_host": "store2.lan"}}
    assert named_addresses(["store1", "store2"], hostvars, ["192.0.2.0/24"]) == [
        {"name": "store1", "address": "192.0.2.41"},
        {"name": "store2", "address": "store2.lan"},
    ]


# --- what is left where nobody watches any more ---------------------------------------------------------------------

OWNED = "{'exporters': exporters_owned, 'monitoring': monitoring_owned}"
MAY = {"disturb": False, "drain": False, "reboot": False}
TOKEN, SETTINGS = "/etc/prometheus/swarmhub-metrics-token", "/etc/default/prometheus-node-exporter"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, t.Any]:
    """What differs on hosts that are asked by nobody, and what is looked at."""

    def host(token: bool, exporter: str | None, here: bool = False) -> dict[str, t.Any]:
        file = {"owner": "root", "uid": 0, "group": "root", "gid": 0, "mode": "0644", "mtime": 1, "sha256": "x"}
        settings = None if exporter is None else {**file, "sha256": exporter}
        seen = {"files": {TOKEN: file if token else None, SETTINGS: settings}, "units": {}, "sysctls": {}}
        return {"seen": {**seen, "packages": {}, "time": 9}, "exporters_here": here}

    ours = "{{ exporters_node_file.content | hash('sha256') }}"
    hosts = {
        "never": host(False, None),
        "sites_own": host(False, "y"),
        "former": host(True, ours),
        "moved_from": host(True, ours, here=True),
    }
    shown = {
        "differing": "{{ OWNED | swarmhub_compare(node_state, node_may) }}".replace("OWNED", OWNED),
        "names": "{{ names }}",
    }
    facts = [
        {"names": "{{ OWNED | swarmhub_names }}".replace("OWNED", OWNED)},
        {"node_state": "{{ seen }}"},
    ]
    folder = tmp_path_factory.mktemp("left")
    roles = ["monitoring", "exporters"]
    return render(folder, {"all": {"hosts": hosts}}, roles, shown, facts, vars={"node_state": {}, "node_may": MAY})


def test_what_a_former_host_of_prometheus_has_of_ours_is_found_and_the_sites_own_is_left(
    left: dict[str, t.Any],
) -> None:
    found = {host: shown["differing"]["differences"] for host, shown in left.items()}
    assert (found["never"], found["sites_own"]) == ({}, {})
    assert found["former"]["monitoring"]["files"] == {TOKEN: "present"}
    assert list(found["former"]["exporters"]["facts"]) == ["nobody asks the exporters any more"]
    assert found["moved_from"]["monitoring"]["files"] == {TOKEN: "present"}
    assert SETTINGS not in found["moved_from"]["exporters"]["files"]


def test_what_is_to_be_stopped_has_been_looked_at(left: dict[str, t.Any]) -> None:
    units = {"prometheus", "prometheus-blackbox-exporter", "prometheus-alertmanager", "prometheus-node-exporter"}
    assert {f"{unit}.service" for unit in units} <= set(left["former"]["names"]["units"])
    assert {TOKEN, SETTINGS} <= set(left["former"]["names"]["files"])
