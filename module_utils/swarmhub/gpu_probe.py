"""Whether containers of a swarm see the cards that they hold and no others, tried on every GPU node at once.

For each node and case a service of one task is made that judges by itself what it sees (gpu_probe_script.py). The
services are taken away in any case; what a killed run has left goes first.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
import typing as t

from ansible.module_utils.swarmhub.engine import Engine, EngineError
from ansible.module_utils.swarmhub.gpu_probe_cases import (
    DEFAULT_KIND,
    ENDED,
    FAILED,
    IN_USE,
    NO_PROOF,
    PASSED,
    Case,
    Node,
    Row,
    advertised,
    cards_by_kind,
    cases,
    exit_code,
    judge,
    unfit,
    variable_of,
)
from ansible.module_utils.swarmhub.gpu_probe_script import Code, command
from ansible.module_utils.swarmhub.stack_wait import tasks_of, wait_gone
from ansible.module_utils.swarmhub.swarm import Refused

LABEL = "swarmhub.probe"
_GONE_SECONDS = 15
_POLL_SECONDS = 0.5
# What the engine puts before each piece of a log: the stream, three zeros, four bytes of length.
_LOG_HEADER = re.compile(r"[\x00-\x02]\x00{3}.{4}", re.DOTALL)

Live = dict[str, t.Any]


@dataclasses.dataclass
class Trial:
    """A case under way: its service, the last that is known of its task, and what came out after how many seconds."""

    case: Case
    service: str = ""
    task: Live = dataclasses.field(default_factory=dict)
    outcome: str = ""
    seen: str = ""
    seconds: float = 0


def probe(engine: Engine, logs: Engine, nodes: list[Node], network: str, timeout: float) -> list[Row]:
    """Try every case on every node; return a row for each.

    Args:
        engine: that of a manager.
        logs: the same with a short timeout, since the logs of services are known to hang.
        network: overlay that the containers are attached to; empty for none.
        timeout: seconds after which what has not ended is given up.

    Raises:
        EngineError: the engine refused a service.
        Refused: this host is no manager, or the swarm has no such network.
    """
    if not engine.request("GET", "/info")["Swarm"].get("ControlAvailable"):
        raise Refused("this host is no swarm manager: run this on one")
    if network and network not in [item["Name"] for item in engine.request("GET", "/networks") or []]:
        raise Refused(f"the swarm has no network {network}: run site.yml, which makes it")
    live = {node["ID"]: node for node in engine.request("GET", "/nodes") or []}
    _remove_services(engine)
    kinds = sorted({DEFAULT_KIND}.union(*map(advertised, live.values())))
    rows, trials = [], []
    for node in nodes:
        if verdict := unfit(node, live.get(node.node_id)):
            rows.append(Row(node.name, "any", verdict[0], 0, verdict[1]))
        else:
            trials += [Trial(case) for case in cases(node, live[node.node_id], kinds)]
    try:
        for place, trial in enumerate(trials):
            _note_held(engine, trial)
            if not trial.outcome:
                spec = service_spec(trial.case, f"swarmhub-probe-{place}", network)
                trial.service = engine.request("POST", "/services/create", body=spec)["ID"]
        _wait(engine, trials, timeout)
        _judge(logs, trials)
    finally:
        _remove_services(engine)
    return rows + [
        Row(trial.case.node.name, trial.case.title, trial.outcome, round(trial.seconds, 1), trial.seen)
        for trial in trials
    ]


def service_spec(case: Case, name: str, network: str) -> Live:
    """Return the body of ``POST /services/create`` for a case."""
    reservations: Live = {}
    if case.kind:
        reservations["GenericResources"] = [{"DiscreteResourceSpec": {"Kind": case.kind, "Value": 1}}]
    # Without "utility" nvidia's runtime brings no nvidia-smi.
    environment = {**case.environment, "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    return {
        "Name": name,
        "Labels": {LABEL: case.title},
        "TaskTemplate": {
            "ContainerSpec": {
                # By its id an image is never pulled (moby, daemon/cluster/executor/container/adapter.go, pullImage).
                "Image": case.node.image,
                "Command": command(case.tried, variable_of(case.kind), case.cards),
                "Env": [f"{key}={value}" for key, value in sorted(environment.items())],
                "Healthcheck": {"Test": ["NONE"]},
                "CapabilityDrop": ["CAP_NET_RAW"],
                "StopGracePeriod": 10**9,
            },
            "Resources": {
                "Limits": {"NanoCPUs": 10**9, "MemoryBytes": 256 * 2**20, "Pids": 64},
                "Reservations": reservations,
            },
            "RestartPolicy": {"Condition": "none"},
            "Placement": {"Constraints": [f"node.id=={case.node.node_id}"]},
            "Networks": [{"Target": network}] if network else [],
        },
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def _remove_services(engine: Engine) -> None:
    """Remove every probe's services, and wait until their containers are gone and their cards free."""
    filters = json.dumps({"label": [LABEL]})
    services = engine.request("GET", "/services", params={"filters": filters}) or []
    tasks = tasks_of(engine, services)
    for service in services:
        _delete(engine, service["ID"])
    wait_gone(engine, [task["ID"] for found in tasks.values() for task in found], _GONE_SECONDS)


def _delete(engine: Engine, service: str) -> None:
    try:
        engine.request("DELETE", f"/services/{service}")
    except EngineError as error:
        if error.status != 404:  # somebody else was faster
            raise


def _note_held(engine: Engine, trial: Trial) -> None:
    """Tell a trial that waits for a card when others hold all of its kind."""
    if not trial.case.kind:
        return
    filters = json.dumps({"node": [trial.case.node.node_id]})
    held = {
        card
        for task in engine.request("GET", "/tasks", params={"filters": filters}) or []
        if task["Status"]["State"] not in ENDED
        for card in cards_by_kind(task.get("GenericResources")).get(trial.case.kind, [])
    }
    if held.issuperset(trial.case.cards):
        trial.outcome, trial.seen = IN_USE, f"all {len(trial.case.cards)} cards are in use"


def _wait(engine: Engine, trials: list[Trial], timeout: float) -> None:
    """Follow the tasks until each has ended, waits for what others hold, or is given up."""
    begin = time.monotonic()
    open_ends = [trial for trial in trials if trial.service]
    while open_ends and time.monotonic() < begin + timeout:
        time.sleep(_POLL_SECONDS)
        tasks = tasks_of(engine, [{"ID": trial.service} for trial in open_ends])
        for trial in open_ends:
            trial.task = next(iter(tasks[trial.service]), {})
            trial.seconds = time.monotonic() - begin
            if trial.task and not trial.task.get("NodeID"):
                _note_held(engine, trial)
        open_ends = [
            trial
            for trial in open_ends
            if not trial.outcome and (trial.task.get("Status") or {}).get("State") not in ENDED
        ]


def _judge(logs: Engine, trials: list[Trial]) -> None:
    """Give each trial its outcome; to see no card proves nothing where nobody sees any."""
    works: dict[Node, bool] = {}
    for trial in trials:  # of each node, the one that asks for all comes first
        if not trial.outcome:
            runtime_works = works.get(trial.case.node, True)
            trial.outcome, trial.seen = judge(trial.case, trial.task, runtime_works)
            if trial.outcome == FAILED and (printed := _printed(logs, trial.service)):
                trial.seen += f" (it printed: {printed})"
            if trial.case.tried == "all":
                works[trial.case.node] = exit_code(trial.task) not in (None, Code.NOTHING)
            if (trial.case.tried, trial.outcome, runtime_works) == ("none", PASSED, False):
                trial.outcome, trial.seen = NO_PROOF, "none, and the one that asks for all shows none either"


def _printed(logs: Engine, service: str) -> str:
    """Return what the container printed, on one line; empty when the engine does not tell in time."""
    options = {"stdout": "true", "stderr": "true", "tail": "20"}
    try:
        text = logs.request("GET", f"/services/{service}/logs", params=options) or ""
    except EngineError:
        return ""
    return "; ".join(line.strip() for line in _LOG_HEADER.sub("", text).splitlines() if line.strip())
