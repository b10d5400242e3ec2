"""A swarm in memory that answers ``request`` like the engines of its hosts do: nodes, membership and cluster settings.

It keeps what is easy to get wrong against a real engine: updates carry the object's version, a missing setting falls
back to its default, a worker neither knows its cluster's id nor may be asked about nodes, and a join can outlive its
own request.
"""

from __future__ import annotations

import copy
import json
import typing as t

from ansible.module_utils.swarmhub.engine import EngineError

Json = dict[str, t.Any]

UNLOCK_KEY = "SWMKEY-1-secret"
DEFAULT_SPEC: Json = {
    "Name": "default",
    "Labels": {},
    "Orchestration": {"TaskHistoryRetentionLimit": 5},
    "Dispatcher": {"HeartbeatPeriod": 5_000_000_000},
    "EncryptionConfig": {"AutoLockManagers": False},
}


class FakeSwarm:
    """What the managers of one cluster agree on.

    Attributes:
        conflicts: the next so many updates meet "update out of sequence".
        requests: ``METHOD path`` of all that was asked, in order.
    """

    def __init__(self, cluster_id: str = "cluster-a") -> None:
        self.cluster_id = cluster_id
        self.nodes: dict[str, Json] = {}
        self.services: list[Json] = []
        self.tasks: list[Json] = []
        self.conflicts = 0
        self.requests: list[str] = []
        self.cluster: Json = {
            "ID": cluster_id,
            "Version": {"Index": 1},
            "Spec": copy.deepcopy(DEFAULT_SPEC),
            "DefaultAddrPool": ["10.20.0.0/16"],
            "SubnetSize": 24,
            "DataPathPort": 4789,
            "JoinTokens": {"Worker": f"{cluster_id}-worker-token", "Manager": f"{cluster_id}-manager-token"},
        }

    def add_node(self, hostname: str, *, role: str = "worker", state: str = "ready", **spec: t.Any) -> str:
        """Add a node; return its id."""
        node_id = f"{self.cluster_id}-node-{len(self.nodes) + 1}"
        self.nodes[node_id] = {
            "ID": node_id,
            "Version": {"Index": 1},
            "Spec": {"Labels": {}, "Role": role, "Availability": "active", **spec},
            "Description": {"Hostname": hostname, "Resources": {}},
            "Status": {"State": state, "Addr": f"10.0.0.{len(self.nodes) + 1}"},
        }
        self._follow_role(node_id)
        return node_id

    def kill(self, node_id: str) -> None:
        """Let a node's host die."""
        self.nodes[node_id]["Status"]["State"] = "down"
        self._follow_role(node_id)

    def run(self, node_id: str, user: str | None, constraints: t.Sequence[str] = (), state: str = "running") -> None:
        """Let a service with one task run on a node; with ``user`` it is that user's notebook."""
        service_id = f"service-{len(self.services) + 1}"
        labels = {"swarmhub.user": user} if user else {}
        self.services.append({"ID": service_id, "Spec": {"Name": f"nb-{user or 'other'}", "Labels": labels}})
        self.tasks.append(
            {
                "ID": f"task-{len(self.tasks) + 1}",
                "ServiceID": service_id,
                "NodeID": node_id,
                "Spec": {"Placement": {"Constraints": list(constraints)}},
                "Status": {"State": state},
            }
        )

    def update(self, target: Json, params: Json, body: Json) -> None:
        """Replace the spec of a versioned object."""
        if self.conflicts:
            self.conflicts -= 1
            target["Version"]["Index"] += 1
        if params["version"] != target["Version"]["Index"]:
            raise EngineError("POST", "update", 500, "rpc error: code = Unknown desc = update out of sequence")
        target["Version"]["Index"] += 1
        target["Spec"] = copy.deepcopy(body)
        if target["ID"] in self.nodes:
            self._follow_role(target["ID"])

    def _follow_role(self, node_id: str) -> None:
        node = self.nodes[node_id]
        node.pop("ManagerStatus", None)
        if node["Spec"]["Role"] == "manager":
            reachability = "reachable" if node["Status"]["State"] == "ready" else "unreachable"
            node["ManagerStatus"] = {"Reachability": reachability}


class FakeEngine:
    """One host's engine; ``swarm`` and ``node_id`` say which node of which cluster it is, if any.

    Attributes:
        state: its LocalNodeState.
        error: its words on what is wrong.
        join_polls: a join answers 503 and is through after so many looks at ``/info``.
        peers: swarms that can be joined, by their managers' addresses.
        on_join: called when this host becomes a member.
    """

    def __init__(
        self, name: str = "host1", swarm: FakeSwarm | None = None, node_id: str = "", root: str = "/none"
    ) -> None:
        self.name = name
        self.swarm = swarm
        self.node_id = node_id
        self.root = root
        self.state = "active" if swarm else "inactive"
        self.error = ""
        self.join_polls = 0
        self.peers: dict[str, FakeSwarm] = {}
        self.on_join: t.Callable[[], None] = lambda: None

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Json | None = None,
        body: t.Any = None,
        headers: dict[str, str] | None = None,
    ) -> t.Any:
        """Answer like an engine."""
        if self.swarm:
            self.swarm.requests.append(f"{method} {path}")
        if path == "/info":
            return self._info()
        if path == "/containers/json":
            return self._containers()
        if path in ("/swarm/init", "/swarm/join", "/swarm/leave", "/swarm/unlock"):
            return getattr(self, f"_{path.rsplit('/', 1)[-1]}")(body, params)
        if not (self.swarm and self._is_manager()):
            raise EngineError(method, path, 503, "This node is not a swarm manager.")
        return copy.deepcopy(self._manager_request(self.swarm, method, path, params or {}, body))

    def _manager_request(  # noqa: PLR0911 - one answer for each endpoint
        self, swarm: FakeSwarm, method: str, path: str, params: Json, body: t.Any
    ) -> t.Any:
        match [method, *path.strip("/").split("/")]:
            case ["GET", "swarm"]:
                return swarm.cluster
            case ["POST", "swarm", "update"]:
                return swarm.update(swarm.cluster, params, _with_defaults(body))
            case ["GET", "swarm", "unlockkey"]:
                return {"UnlockKey": UNLOCK_KEY}
            case ["GET", "nodes"]:
                return list(swarm.nodes.values())
            case ["GET", "nodes", node_id] if node_id in swarm.nodes:
                return swarm.nodes[node_id]
            case ["POST", "nodes", node_id, "update"] if node_id in swarm.nodes:
                return swarm.update(swarm.nodes[node_id], params, body)
            case ["DELETE", "nodes", node_id] if node_id in swarm.nodes:
                return self._delete(swarm, node_id, forced=bool(params.get("force")))
            case ["GET", "services"]:
                labels = _filter(params, "label")
                return [service for service in swarm.services if set(labels) <= service["Spec"]["Labels"].keys()]
            case ["GET", "tasks"]:
                nodes = _filter(params, "node")
                return [task for task in swarm.tasks if not nodes or task["NodeID"] in nodes]
        raise EngineError(method, path, 404, f"{path} not found")

    def _delete(self, swarm: FakeSwarm, node_id: str, *, forced: bool) -> None:
        node = swarm.nodes[node_id]
        if node["Spec"]["Role"] == "manager":
            raise EngineError("DELETE", node_id, 400, "node is a member of the raft cluster and must be demoted")
        if node["Status"]["State"] != "down" and not forced:
            raise EngineError("DELETE", node_id, 400, "node is not down and can't be removed")
        del swarm.nodes[node_id]

    def _is_manager(self) -> bool:
        node = self.swarm.nodes.get(self.node_id) if self.swarm else None
        return self.state == "active" and bool(node and node["Spec"]["Role"] == "manager")

    def _info(self) -> Json:
        if self.state == "pending" and self.swarm:
            self.join_polls -= 1
            if self.join_polls <= 0:
                self.state = "active"
        known = self.state == "active" or (self.state in ("error", "pending") and not self.swarm)
        facts: Json = {"LocalNodeState": self.state, "Error": self.error, "NodeID": self.node_id if known else ""}
        if self.swarm and self.state == "active":
            facts["NodeAddr"] = "10.0.0.1"
            facts["RemoteManagers"] = [{"NodeID": "x", "Addr": "10.0.0.1:2377"}]
        if self.swarm and self._is_manager():
            facts |= {"ControlAvailable": True, "Cluster": {"ID": self.swarm.cluster_id}}
        return {"Name": self.name, "DockerRootDir": self.root, "Swarm": facts}

    def _enter(self, swarm: FakeSwarm, role: str) -> None:
        if self.state != "inactive":
            raise EngineError("POST", "/swarm", 503, "This node is already part of a swarm.")
        self.swarm, self.state = swarm, "active"
        self.node_id = swarm.add_node(self.name, role=role)
        self.on_join()

    def _init(self, body: Json, _params: Json | None) -> str:
        swarm = FakeSwarm("cluster-new")
        swarm.cluster["Spec"] = _with_defaults(body["Spec"])
        swarm.cluster |= {key: body[key] for key in ("DefaultAddrPool", "SubnetSize", "DataPathPort") if body[key]}
        self._enter(swarm, "manager")
        return self.node_id

    def _join(self, body: Json, _params: Json | None) -> None:
        swarm = self.peers[body["RemoteAddrs"][0]]
        roles = {token: role.lower() for role, token in swarm.cluster["JoinTokens"].items()}
        if body["JoinToken"] not in roles:
            raise EngineError("POST", "/swarm/join", 500, "invalid join token")
        self._enter(swarm, roles[body["JoinToken"]])
        if self.join_polls:
            self.state = "pending"
            raise EngineError("POST", "/swarm/join", 503, "Timeout was reached before node joined.")

    def _unlock(self, body: Json, _params: Json | None) -> None:
        if body["UnlockKey"] != UNLOCK_KEY:
            raise EngineError("POST", "/swarm/unlock", 503, "swarm could not be unlocked: invalid key provided")
        self.state = "active"

    def _containers(self) -> list[Json]:
        """The containers of the tasks on this host."""
        if not self.swarm:
            return []
        names = {service["ID"]: service["Spec"]["Name"] for service in self.swarm.services}
        return [
            {"Id": task["ID"], "Labels": {"com.docker.swarm.service.name": names[task["ServiceID"]]}}
            for task in self.swarm.tasks
            if (task["NodeID"], task["Status"]["State"]) == (self.node_id, "running")
        ]

    def _leave(self, _body: Json | None, params: Json | None) -> None:
        if self.state == "inactive":
            raise EngineError("POST", "/swarm/leave", 503, "This node is not part of a swarm")
        if self._is_manager() and (params or {}).get("force") != "true":
            raise EngineError(
                "POST",
                "/swarm/leave",
                503,
                "You are attempting to leave the swarm on a node that is participating as a manager.",
            )
        if self.swarm:
            self.swarm.nodes[self.node_id]["Status"]["State"] = "down"
        self.swarm, self.state, self.node_id, self.error = None, "inactive", "", ""


def _with_defaults(spec: Json) -> Json:
    return {**copy.deepcopy(DEFAULT_SPEC), **copy.deepcopy(spec)}


def _filter(params: Json, name: str) -> list[str]:
    values: list[str] = json.loads(params.get("filters", "{}")).get(name, [])
    return values
