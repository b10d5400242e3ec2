"""What pyinfra has no operations for in a swarm: members, labels, overlays, secrets, stacks; by the docker command."""

from __future__ import annotations

import json
import shlex
import typing as t
from io import StringIO

from pyinfra import host, inventory
from pyinfra.api import FactBase, FileUploadCommand, OperationError, operation
from pyinfra.facts.docker import DockerSystemInfo
from system import Commands, Lines

Json = dict[str, t.Any]
WAIT = (
    "timeout 300 sh -c 'until docker service ls --filter name={0} --format {{{{.Replicas}}}} | grep -q ^1/1;"
    " do sleep 0.5; done'"
)


class Inspected(FactBase[dict[str, Json]]):
    """What a command prints as a JSON list, by the key that names its items."""

    default = dict

    def command(self, command: str, key: str) -> str:
        """The command itself."""
        self.key = key
        return command

    def process(self, output: list[str]) -> dict[str, Json]:
        """Return the items by name."""
        return {item[self.key]: item for item in json.loads("".join(output))}


# --- its members


@operation()
def member(role: str, address: str) -> Commands:
    """Be in the swarm."""
    if host.get_fact(DockerSystemInfo)["Swarm"]["LocalNodeState"] != "active":
        manager = inventory.get_group("manager")[0]
        token = manager.get_fact(Lines, command=f"docker swarm join-token --quiet {role}")[0]
        remote = manager.data.ssh_hostname
        yield f"docker swarm join --advertise-addr {address} --token {token} {remote}:2377"


@operation()
def heartbeat(seconds: float) -> Commands:
    """Set after how long a silent node is given up."""
    dispatcher = host.get_fact(DockerSystemInfo)["Swarm"]["Cluster"]["Spec"]["Dispatcher"]
    if dispatcher["HeartbeatPeriod"] != seconds * 10**9:
        yield f"docker swarm update --dispatcher-heartbeat {seconds}s"


@operation()
def node(node: Json) -> Commands:
    """Give a node its labels and its role."""
    nodes = host.get_fact(Inspected, command="docker node inspect $(docker node ls --quiet)", key="ID")
    if node["id"] not in nodes or nodes[node["id"]]["Status"]["State"] != "ready":
        raise OperationError(f"{node['host']} is not a node that is ready")
    spec = nodes[node["id"]]["Spec"]
    flags = [f"--label-add={key}={value}" for key, value in node["labels"].items() if spec["Labels"].get(key) != value]
    flags += [f"--label-rm={key}" for key in node["without"] if key in spec["Labels"]]
    flags += [f"--role={node['role']}"] if spec["Role"] != node["role"] else []
    if flags:
        yield shlex.join(["docker", "node", "update", *flags, node["id"]])


# --- the swarm's things


@operation()
def network(wanted: Json) -> Commands:
    """Make an overlay network; one that is there stays what it was made as."""
    networks = host.get_fact(Inspected, command="docker network inspect $(docker network ls --quiet)", key="Name")
    if (live := networks.get(wanted["name"])) is None:
        flags = [f"--{flag}" for flag in ("attachable", "internal") if wanted[flag]]
        flags += [f"--label={key}={value}" for key, value in wanted["labels"].items()]
        flags += [f"--opt={key}={value}" for key, value in wanted["options"].items()]
        yield shlex.join(
            ["docker", "network", "create", "--driver=overlay", f"--subnet={wanted['subnet']}", *flags, wanted["name"]]
        )
        return
    same = (
        live["Driver"] == "overlay"
        and live["IPAM"]["Config"][0]["Subnet"] == wanted["subnet"]
        and all(live[flag.capitalize()] == wanted[flag] for flag in ("attachable", "internal"))
        and wanted["labels"].items() <= live["Labels"].items()
        and wanted["options"].items() <= live["Options"].items()
    )
    if not same:
        raise OperationError(f"network {wanted['name']} is another one")


@operation()
def content(wanted: Json) -> Commands:
    """Keep a secret or a config; its name follows its content."""
    kind, name = wanted["kind"], wanted["name"]
    if name not in host.get_fact(Lines, command=f"docker {kind} ls --format '{{{{.Name}}}}'"):
        flags = shlex.join(f"--label={key}={value}" for key, value in wanted["labels"].items())
        place = host.get_temp_filename(name)
        yield FileUploadCommand(StringIO(wanted["value"]), place)
        yield f"docker {kind} create {flags} {name} {place}; kept=$?; rm {place}; exit $kept"


def _differs(wanted: t.Any, live: t.Any) -> bool:
    """Whether anything of what is wanted is otherwise; what the engine leaves out is empty."""
    if isinstance(wanted, dict):
        return any(_differs(value, (live or {}).get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        live = live or []
        return len(wanted) != len(live) or any(_differs(*pair) for pair in zip(wanted, live, strict=True))
    return bool(wanted != live if live is not None else wanted)


def _in_order(spec: Json, names: dict[str, str]) -> Json:
    """A copy of a service's specification with networks by name, and what has no order in one."""
    spec = json.loads(json.dumps(spec))
    task = spec["TaskTemplate"]
    for each in task["Networks"]:
        each["Target"] = names.get(each["Target"], each["Target"])
    task["Networks"].sort(key=lambda each: each["Target"])
    container = task["ContainerSpec"]
    for kind, name in (("Secrets", "SecretName"), ("Configs", "ConfigName")):
        container.get(kind, []).sort(key=lambda each: each[name])
    container.get("Mounts", []).sort(key=lambda each: each["Target"])
    return t.cast("Json", spec)


@operation()
def stack(stack: str, services: list[Json], compose: Json) -> Commands:
    """Deploy a stack where a service of it is missing or otherwise."""
    listed = f"docker service ls --quiet --filter label=com.docker.stack.namespace={stack}"
    inspect = f"{listed} | xargs --no-run-if-empty docker service inspect"
    live = {each["Spec"]["Name"]: each["Spec"] for each in host.get_fact(Inspected, command=inspect, key="ID").values()}
    # A node's own bridge has an id of swarm's as well, which no list shows.
    targets = sorted({net["Target"] for spec in live.values() for net in spec["TaskTemplate"]["Networks"]})
    shown = shlex.join(["docker", "network", "inspect", *targets]) if targets else "true"
    names = {identity: each["Name"] for identity, each in host.get_fact(Inspected, command=shown, key="Id").items()}
    wrong = [
        each["Name"]
        for each in services
        if each["Name"] not in live or _differs(_in_order(each, names), _in_order(live[each["Name"]], names))
    ]
    if wrong or live.keys() - {each["Name"] for each in services}:
        place = host.get_temp_filename(stack)
        yield FileUploadCommand(StringIO(json.dumps(compose)), place)
        yield f"docker stack deploy --prune --resolve-image=never --detach=true --compose-file {place} {stack}"


@operation()
def converged(services: list[str]) -> Commands:
    """Wait until each of these services runs."""
    running = host.get_fact(Lines, command="docker service ls --format '{{.Name}} {{.Replicas}}'")
    for service in services:
        if f"{service} 1/1" not in running:
            yield WAIT.format(service)
