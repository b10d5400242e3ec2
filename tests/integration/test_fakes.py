"""The engines in memory of the unit tests answer as a real one does: same status, same words, nothing invented."""

from __future__ import annotations

import json
import typing as t

import fake_engine
import fake_stack
import pytest
from ansible.module_utils.swarmhub.engine import DockerEngine, Engine, EngineError
from ansible.module_utils.swarmhub.swarm import wait_for
from engines import Hosts

IMAGE = {"Image": "nosuch:1"}


def invented(fake: t.Any, real: t.Any, path: str) -> t.Iterator[str]:
    """Say what an answer of the fake has that the real one has not, or has of another type."""
    if isinstance(fake, dict) and isinstance(real, dict):
        for key, value in fake.items():
            if key not in real:
                yield f"{path}.{key} is not in the real answer"
            else:
                yield from invented(value, real[key], f"{path}.{key}")
    elif isinstance(fake, list) and isinstance(real, list):
        for item in fake[:1] if real else []:
            yield from invented(item, real[0], f"{path}[0]")
    elif fake is not None and type(fake) is not type(real):
        yield f"{path} is {fake!r}, in the real answer {real!r}"


class Both:
    """A real engine and a fake that are asked the same; ``names`` holds for each the ids that paths refer to."""

    def __init__(self, real: Engine, fake: Engine) -> None:
        self.names: list[dict[str, t.Any]] = [{}, {}]
        self.differences: list[str] = []
        self._engines = (real, fake)

    def ask(self, request: str, *, body: t.Any = None, words: str = "", keep: t.Any = None, **params: t.Any) -> None:
        """Send one request to both.

        Args:
            request: method and path, with ``{names}``.
            body: the same for both, or a function of the names, as the values of ``params`` too.
            words: what is in the message of the refusal that both must answer with.
            keep: from an answer to what is to be kept in ``names``.
            params: of the query.
        """
        outcomes: list[t.Any] = []
        for engine, names in zip(self._engines, self.names, strict=True):
            method, path = request.format(**names).split(" ")
            query = {key: value(names) if callable(value) else value for key, value in params.items()}
            refusal = ""
            try:
                answer = engine.request(method, path, params=query, body=body(names) if callable(body) else body)
            except EngineError as error:
                answer, refusal = error.status, error.message
            who = f"{request}: {type(engine).__name__}"
            assert bool(words) == bool(refusal), f"{who} says {refusal or answer!r}"
            assert words in refusal, f"{who} says {refusal!r}"
            outcomes.append(answer)
            names.update(keep(answer) if keep else {})
        real, fake = outcomes
        if not words:
            self.differences += invented(fake, real, request)
        elif fake != real:
            self.differences.append(f"{request}: refused by the fake with {fake}, by a real engine with {real}")


@pytest.fixture
def first(hosts: Hosts) -> t.Iterator[DockerEngine]:
    """A real engine that is in no swarm."""
    engine = DockerEngine(hosts.mgr1.docker_host)
    yield engine
    if engine.request("GET", "/info")["Swarm"]["LocalNodeState"] != "inactive":
        engine.request("POST", "/swarm/leave", params={"force": "true"})


def test_nodes_and_membership(hosts: Hosts, first: DockerEngine) -> None:
    both = Both(first, fake_engine.FakeEngine("mgr1"))
    both.ask("GET /info")
    both.ask("GET /nodes", words="This node is not a swarm manager")
    both.ask("POST /swarm/leave", words="not part of a swarm")
    init = {
        "ListenAddr": "0.0.0.0:2377",
        "AdvertiseAddr": hosts.mgr1.address,
        "DefaultAddrPool": ["10.20.0.0/16"],
        "SubnetSize": 24,
        "DataPathPort": 0,
        "Spec": {"Dispatcher": {"HeartbeatPeriod": 2_000_000_000}},
    }
    both.ask("POST /swarm/init", body=init)
    both.ask("POST /swarm/init", body=init, words="This node is already part of a swarm")
    both.ask("GET /info", keep=lambda info: {"mgr1": info["Swarm"]["NodeID"]})
    both.ask("GET /swarm", keep=lambda swarm: {"swarm": swarm["Version"]["Index"], "spec": swarm["Spec"]})
    both.ask("POST /swarm/update", version=10**6, body=lambda names: names["spec"], words="update out of sequence")
    both.ask("POST /swarm/update", version=lambda names: names["swarm"], body=lambda names: names["spec"])
    both.ask("GET /swarm/unlockkey")
    both.ask("GET /nodes")
    both.ask("GET /nodes/{mgr1}", keep=lambda node: {"version": node["Version"]["Index"], "spec": node["Spec"]})
    both.ask(
        "POST /nodes/{mgr1}/update", version=10**6, body=lambda names: names["spec"], words="update out of sequence"
    )
    both.ask("POST /nodes/{mgr1}/update", version=lambda names: names["version"], body=lambda names: names["spec"])
    both.ask("DELETE /nodes/{mgr1}", words="must be demoted")
    both.ask("GET /nodes/nosuchnode", words="not found")
    both.ask("GET /services")
    both.ask("GET /tasks", filters=lambda names: json.dumps({"node": [names["mgr1"]]}))
    both.ask("GET /containers/json", filters=json.dumps({"label": ["com.docker.swarm.task.id"]}))
    both.ask(
        "POST /swarm/leave", words="You are attempting to leave the swarm on a node that is participating as a manager"
    )
    both.ask("POST /swarm/leave", force="true")
    both.ask("GET /info")
    assert both.differences == []


def test_a_worker(hosts: Hosts, first: DockerEngine) -> None:
    worker = DockerEngine(hosts.gpu1.docker_host)
    swarm = fake_engine.FakeSwarm()
    fake_manager = fake_engine.FakeEngine("mgr1", swarm, swarm.add_node("mgr1", role="manager"))
    fake_worker = fake_engine.FakeEngine("gpu1")
    fake_worker.peers[f"{hosts.mgr1.address}:2377"] = swarm
    first.request("POST", "/swarm/init", body={"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": hosts.mgr1.address})
    managers, workers = Both(first, fake_manager), Both(worker, fake_worker)
    managers.ask("GET /swarm", keep=lambda swarm: {"token": swarm["JoinTokens"]["Worker"]})
    workers.names = managers.names

    def join(names: dict[str, t.Any]) -> dict[str, t.Any]:
        address = {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": hosts.gpu1.address}
        return {**address, "RemoteAddrs": [f"{hosts.mgr1.address}:2377"], "JoinToken": names["token"]}

    workers.ask("POST /swarm/join", body={**join({"token": "nonsense"})}, words="invalid join token")
    workers.ask("POST /swarm/join", body=join)
    workers.ask("POST /swarm/join", body=join, words="This node is already part of a swarm")
    workers.ask("GET /info", keep=lambda info: {"gpu1": info["Swarm"]["NodeID"]})
    workers.ask("GET /nodes", words="This node is not a swarm manager")
    managers.ask("GET /nodes/{gpu1}")
    managers.ask("DELETE /nodes/{gpu1}", words="is not down and can't be removed")
    workers.ask("POST /swarm/leave")
    assert managers.differences + workers.differences == []


def test_services_networks_and_contents(hosts: Hosts, first: DockerEngine) -> None:
    first.request("POST", "/swarm/init", body={"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": hosts.mgr1.address})
    both = Both(first, fake_stack.FakeSwarm())
    network = {
        "Name": "net",
        "Driver": "overlay",
        "Scope": "swarm",
        "Attachable": True,
        "Internal": False,
        "Labels": {"a": "b"},
        "Options": {"com.docker.network.driver.mtu": "1400"},
        "IPAM": {"Config": [{"Subnet": "10.79.0.0/24"}]},
    }
    both.ask("GET /info")
    both.ask("GET /nodes")
    both.ask("POST /networks/create", body=network, keep=lambda made: {"net": made["Id"]})
    # Swarm answers before it has given the network its addresses, as it answers a removal before the tasks are gone.
    wait_for(lambda: first.request("GET", "/networks/net"), lambda net: net["IPAM"]["Config"], timeout=10)
    both.ask("GET /networks/{net}")
    for kind in ("secrets", "configs"):
        body = {"Name": "one", "Labels": {}, "Data": "b25l"}
        both.ask(f"POST /{kind}/create", body=body, keep=lambda made, kind=kind: {kind: made["ID"]})
        both.ask(f"GET /{kind}")

    def service(names: dict[str, t.Any]) -> dict[str, t.Any]:
        file = {"Name": "one", "UID": "0", "GID": "0", "Mode": 0o444}
        container = {**IMAGE, "Secrets": [{"SecretID": names["secrets"], "SecretName": "one", "File": file}]}
        container["Configs"] = [{"ConfigID": names["configs"], "ConfigName": "one", "File": file}]
        template = {"ContainerSpec": container, "Networks": [{"Target": "net"}], "Placement": {"Constraints": []}}
        return {"Name": "web", "Labels": {}, "TaskTemplate": template, "Mode": {"Replicated": {"Replicas": 1}}}

    both.ask("POST /services/create", body=service, keep=lambda made: {"web": made["ID"]})
    both.ask("POST /services/create", body=service, words="name conflicts with an existing object")
    both.ask("GET /services", filters=json.dumps({"name": ["web"]}))
    both.ask("GET /services/{web}", keep=lambda web: {"version": web["Version"]["Index"], "spec": web["Spec"]})
    both.ask(
        "POST /services/{web}/update", version=10**6, body=lambda names: names["spec"], words="update out of sequence"
    )
    both.ask("GET /services/{web}", keep=lambda web: {"version": web["Version"]["Index"], "spec": web["Spec"]})
    both.ask("POST /services/{web}/update", version=lambda names: names["version"], body=lambda names: names["spec"])
    wait_for(lambda: first.request("GET", "/tasks"), lambda tasks: tasks and "NodeID" in tasks[0], timeout=10)
    both.ask("GET /tasks", filters=lambda names: json.dumps({"service": [names["web"]]}))
    for kind in ("secrets", "configs"):
        both.ask(f"DELETE /{kind}/{{{kind}}}", words="is in use by the following service: web")
    both.ask("DELETE /services/{web}")
    wait_for(lambda: first.request("GET", "/tasks"), lambda tasks: not tasks, timeout=30)
    for kind in ("secrets", "configs"):
        both.ask(f"DELETE /{kind}/{{{kind}}}")
    both.ask("DELETE /networks/{net}")
    both.ask("DELETE /networks/nosuchnetwork", words="not found")
    assert both.differences == []
