"""Prometheus on a lab that is up: what it measures, who may, and an alert that reaches whoever is to be told."""

from __future__ import annotations

import json
import queue
import re
import shlex
import time
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
import yaml
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import TokenSession

from .cards import held_cards
from .conftest import ROOT, SECRETS, Lab, edit_hosts, run_playbook
from .doors import Door, code, from_host

FILES = ROOT / "roles/monitoring/files"
EXPORTER = "prometheus-node-exporter.service"
METRIC = re.compile(r"\b(?:(?:swarmhub|jupyterhub|node|pg|probe|process)_\w+|up)\b(?!\s*=)")
# A certificate is there where the site has TLS, and a fault where a card is at fault.
ABSENT = {"probe_ssl_earliest_cert_expiry", "swarmhub_card_fault"}
FETCH = """
import json, sys, urllib.request
print(json.dumps([json.load(urllib.request.urlopen(url, timeout=10))["data"] for url in sys.argv[1:]]))
"""


class Prometheus:
    """The lab's, which answers on its own host alone."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.host: str = lab.inventory["monitoring_server"]["hosts"][0]

    def ask(self, *paths: str) -> list[t.Any]:
        """Return what its API answers to each."""
        urls = [f"http://localhost:9090/api/v1/{path}" for path in paths]
        return t.cast("list[t.Any]", json.loads(self.lab.ssh(self.host, shlex.join(["python3", "-c", FETCH, *urls]))))

    def query(self, *expressions: str) -> list[dict[str, str]]:
        """Return the labels of what expressions find now."""
        answers = self.ask(*(f"query?{urlencode({'query': expression})}" for expression in expressions))
        return [found["metric"] for answer in answers for found in answer["result"]]

    def wait_for(self, expression: str, there: bool, seconds: float = 60) -> list[dict[str, str]]:
        """Wait until an expression finds something, or nothing any more, and return that."""
        deadline = time.monotonic() + seconds
        while bool(found := self.query(expression)) is not there:
            assert time.monotonic() < deadline, f"{expression}: {found}"
            time.sleep(3)
        return found


@pytest.fixture(scope="module")
def prometheus(lab: Lab) -> Prometheus:
    return Prometheus(lab)


@pytest.fixture(scope="module")
def silenced(lab: Lab) -> t.Iterator[tuple[str, queue.Queue[t.Any]]]:
    """A worker, by its own name, whose exporter was stopped, and what the receiver of alerts is told from then on."""
    told: queue.Queue[t.Any] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]:
                told.put(alert)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: t.Any) -> None:
            pass

    url = urlsplit(lab.variables[lab.manager]["monitoring_alert_webhook"])
    worker = lab.inventory["gpu_workers"]["hosts"][0]
    with ThreadingHTTPServer((url.hostname or "", url.port or 0), Receiver) as receiver:
        Thread(target=receiver.serve_forever, daemon=True).start()
        lab.ssh(worker, f"systemctl stop {EXPORTER}")
        try:
            yield lab.ssh(worker, "hostname").strip(), told
        finally:
            lab.ssh(worker, f"systemctl start {EXPORTER}")
            receiver.shutdown()


def test_hub_proxy_database_and_every_host_are_measured(lab: Lab, prometheus: Prometheus) -> None:
    prometheus.wait_for("up == 0", there=False, seconds=90)
    jobs = {labels["job"] for labels in prometheus.query("up")}
    assert jobs == {"prometheus", "hub", "proxy", "entry", "node", "postgres"}
    hosts = {lab.ssh(host, "hostname").strip() for host in lab.variables}
    assert {labels["node"] for labels in prometheus.query('up{job="node"}')} == hosts


def test_each_alert_is_loaded_and_does_what_its_test_says(lab: Lab, prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.ask("rules")[0]["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    written = yaml.safe_load((FILES / "swarmhub.rules.yml").read_text())
    assert {rule["name"] for rule in rules} == {rule["alert"] for group in written["groups"] for rule in group["rules"]}
    cases = shlex.quote((Path(__file__).parent / "alerts.test.yml").read_text())
    lab.ssh(
        prometheus.host,
        "set -e; place=$(mktemp -d); trap 'rm -r $place' EXIT; cp /etc/prometheus/swarmhub.rules.yml $place; cd $place;"
        f" printf %s {cases} > cases.yml; promtool test rules cases.yml;"
        " promtool check config /etc/prometheus/prometheus.yml",
    )


def test_the_hubs_metrics_are_for_who_has_the_token(lab: Lab) -> None:
    token = (SECRETS / "metrics_token").read_text()
    url = lab.access["url"].rstrip("/")
    for path, words in (("", "swarmhub_cards{"), ("/proxy", "requests_api"), ("/targets", ":9100")):
        answers = [
            httpx.get(f"{url}/hub/metrics{path}", headers={"Authorization": f"Bearer {each}"}, timeout=20)
            for each in (token, "wrong")
        ]
        assert [answer.status_code for answer in answers] == [200, 403]
        assert words in answers[0].text
    users = httpx.get(f"{url}/hub/api/users", headers={"Authorization": f"Bearer {token}"}, timeout=20)
    assert users.status_code == 403
    host = lab.inventory["monitoring_server"]["hosts"][0]
    assert lab.ssh(host, "stat --format '%a %U' /etc/prometheus/swarmhub-metrics-token").split() == [
        "600",
        "prometheus",
    ]


def test_a_notebook_reaches_neither_exporters_nor_the_proxys_metrics(lab: Lab, notebook: TokenSession) -> None:
    """The node and the hub show that somebody listens there."""
    ((host, _),) = lab.containers(*lab.services(notebook.name))
    own, manager = (lab.variables[name]["ansible_host"] for name in (host, lab.manager))
    exporters: list[Door] = [("metrics", place, 9100) for place in dict.fromkeys((own, manager))]
    exporters.append(("metrics", manager, 9187))
    assert set(from_host(lab, host, exporters).values()) == {"answers"}
    ((hub_host, hub),) = lab.containers("swarmhub_hub")
    doors: list[Door] = [("metrics", "proxy-api", 8002), ("metrics", manager, 9100)]
    seen = json.loads(lab.docker("exec", hub, "python3", "-c", code(doors), host=hub_host))
    assert list(seen.values()) == ["answers", "refused"]
    with Kernel(notebook, 30) as kernel:
        # Prometheus itself listens to its own host alone.
        doors = [*exporters, ("bare", manager, 9090), ("metrics", "proxy", 8002)]
        assert set(json.loads(kernel.run(code(doors))).values()) == {"refused"}
        assert list(json.loads(kernel.run(code([("bare", "proxy", 8000)]))).values()) == ["answers"]


@pytest.mark.usefixtures("silenced", "notebook")
def test_what_alerts_and_dashboard_ask_for_is_measured(prometheus: Prometheus) -> None:
    """One notebook at least has been started by now."""
    board = json.loads((FILES / "dashboard.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    prometheus.query(*asked)  # they are expressions, or Prometheus answers with an error
    rules = yaml.safe_load((FILES / "swarmhub.rules.yml").read_text())
    asked += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    wanted = {name for expression in asked for name in METRIC.findall(expression)}
    assert {"up", "node_filesystem_avail_bytes", "swarmhub_card_holders"} < wanted
    prometheus.wait_for("swarmhub_card_holders or swarmhub_notebooks > 0", there=True)
    known = set(prometheus.ask("label/__name__/values")[0])
    # Nobody may have held a card yet.
    assert wanted - known - {"swarmhub_card_holders"} == ABSENT - known


def test_a_card_is_held_by_its_user_until_it_is_given_back(
    lab: Lab, prometheus: Prometheus, silenced: tuple[str, queue.Queue[t.Any]]
) -> None:
    session = lab.add_user("e2e-measured")
    held = 'swarmhub_card_holders{user="e2e-measured"} == 1'
    try:
        session.start(lab.profile(cards=True))
        session.wait_until_ready()
        (labels,) = prometheus.wait_for(held, there=True)
        assert [labels["uuid"]] == held_cards(lab, session)
        assert prometheus.query(f'swarmhub_card_info{{uuid="{labels["uuid"]}", node="{labels["node"]}"}}')
        session.stop()
        prometheus.wait_for(held, there=False)
    finally:
        lab.remove_user(session)


@pytest.mark.long
def test_a_silent_host_is_told_of(prometheus: Prometheus, silenced: tuple[str, queue.Queue[t.Any]]) -> None:
    node, told = silenced
    deadline = time.monotonic() + 240
    while True:
        alert = told.get(timeout=max(deadline - time.monotonic(), 1))
        # The end of another one may be told first.
        if (alert["labels"]["alertname"], alert["status"]) == ("HostUnreachable", "firing"):
            break
    assert alert["labels"]["node"] == node
    assert alert["annotations"]["summary"] == f"{node} does not answer"
    assert prometheus.query(f'ALERTS{{alertname="HostUnreachable", node="{node}", alertstate="firing"}}')


@pytest.mark.long
def test_where_nobody_watches_any_more_nothing_of_it_runs(lab: Lab, copied_inventory: Path) -> None:
    (host,) = lab.inventory["monitoring_server"]["hosts"]
    units = ["prometheus", "prometheus-blackbox-exporter", "prometheus-alertmanager", "prometheus-node-exporter"]
    edit_hosts(copied_inventory, lambda everything: everything["children"].pop("monitoring_server"))
    variables = copied_inventory / "group_vars/all.yml"
    variables.write_text(re.sub("(?m)^monitoring_alert_webhook:.*$", "", variables.read_text()))
    try:
        predicted = run_playbook("site.yml", "--check", inventory=copied_inventory)
        assert predicted.code == 0, predicted.output
        assert set(lab.ssh(host, f"systemctl is-active {' '.join(units)}").split()) == {"active"}
        first, second = (run_playbook("site.yml", inventory=copied_inventory) for _ in range(2))
        assert (first.code, second.code, sum(second.changed.values())) == (0, 0, 0), first.output + second.output
        assert set(lab.ssh(host, f"systemctl is-active {' '.join(units)}", check=False).split()) == {"inactive"}
        assert lab.ssh(host, "ls /etc/prometheus/swarmhub-metrics-token", check=False) == ""
    finally:
        back = run_playbook("site.yml")
        assert back.code == 0, back.output
    assert set(lab.ssh(host, f"systemctl is-active {' '.join(units)}").split()) == {"active"}
