"""What the modules about a swarm share: where a host stands, versioned updates, bounded waits, refusals.

It stands on ``GET /info`` and, for a worker, on the node's own certificate: the Engine API tells a worker's cluster to
nobody, while swarmkit writes it into the certificate's subject (O = cluster, OU = role, CN = node;
https://github.com/moby/swarmkit/blob/master/ca/certificates.go).
"""

from __future__ import annotations

import base64
import copy
import os
import re
import time
import typing as t
from pathlib import Path

from ansible.module_utils.swarmhub.engine import Engine, EngineError

UPDATE_ATTEMPTS = 10
NODE_CERTIFICATE = Path("swarm/certificates/swarm-node.crt")
PEM_HEADER, PEM_FOOTER = (f"-----{word} CERTIFICATE-----" for word in ("BEGIN", "END"))
# DER of "object identifier 2.5.4.10 (organizationName)", then a UTF8String or PrintableString of up to 127 bytes.
ORGANIZATION = re.compile(rb"\x06\x03\x55\x04\x0a[\x0c\x13]([\x01-\x7f])", re.DOTALL)

T = t.TypeVar("T")


class Refused(Exception):
    """The wanted state cannot, or must not, be reached; the text says why and what to do about it."""


def named_resources(holder: t.Mapping[str, t.Any]) -> dict[str, list[str]]:
    """Return the named generic resources that an engine's ``/info`` or a node's resources hold, sorted ids by kind."""
    found: dict[str, list[str]] = {}
    for resource in holder.get("GenericResources") or []:
        if named := resource.get("NamedResourceSpec"):
            found.setdefault(named["Kind"], []).append(named["Value"])
    return {kind: sorted(ids) for kind, ids in sorted(found.items())}


def wait_for(look: t.Callable[[], T], done: t.Callable[[T], bool], timeout: float, pause: float = 0.5) -> T:
    """Look every ``pause`` seconds until ``done`` or until ``timeout`` seconds have gone; return the last look."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if done(seen) or time.monotonic() >= deadline:
            return seen
        time.sleep(pause)


def update(engine: Engine, inspect: str, target: str, change: t.Callable[[dict[str, t.Any]], dict[str, t.Any]]) -> bool:
    """Send the whole spec of an object back with ``change`` applied; say whether that was needed.

    The engine takes a missing field for "back to the default", so nothing but the spec as it is now may be sent, and
    it refuses a spec that is older than the object: then the object is read again.

    Args:
        inspect: path of the object, such as ``/nodes/ID``.
        target: path of its update, such as ``/nodes/ID/update``.
        change: gets a copy of the spec, returns the spec to send.

    Raises:
        EngineError: the engine refused for another reason.
        Refused: somebody else changed the object at every attempt.
    """
    for _ in range(UPDATE_ATTEMPTS):
        current = engine.request("GET", inspect)
        spec = change(copy.deepcopy(current["Spec"]))
        if spec == current["Spec"]:
            return False
        try:
            engine.request("POST", target, params={"version": current["Version"]["Index"]}, body=spec)
        except EngineError as error:
            if "update out of sequence" not in error.message:
                raise
        else:
            return True
    raise Refused(
        f"{inspect} was changed by somebody else during each of {UPDATE_ATTEMPTS} updates: "
        "let the other one finish, then run this again"
    )


def certificate_cluster(pem: str) -> str:
    """Return the cluster id in the subject of a node's certificate, or an empty string."""
    leaf = base64.b64decode(pem.partition(PEM_HEADER)[2].partition(PEM_FOOTER)[0])
    found = ORGANIZATION.search(leaf)
    return leaf[found.end() : found.end() + found.group(1)[0]].decode("ascii") if found else ""


class Standing(t.NamedTuple):
    """Where a host stands in the world of swarms, as its own engine tells it.

    Attributes:
        host: the engine's host name.
        state: ``inactive``, ``pending``, ``active``, ``error`` or ``locked``.
        node_id: empty until a join has gone through; then kept through restarts and errors.
        cluster_id: empty outside any swarm, or where a worker's certificate cannot be read.
        role: ``manager``, ``worker``, or empty when not active.
        address: the address that this node advertises.
        managers: ``host:port`` of the managers that it knows.
        error: the engine's own words on what is wrong.
    """

    host: str
    state: str
    node_id: str
    cluster_id: str
    role: str
    address: str
    managers: list[str]
    error: str

    @property
    def unfinished(self) -> bool:
        """A join or init began here and never got a node id: there is nothing yet to lose."""
        return self.state in ("pending", "error") and not self.node_id

    @classmethod
    def read(cls, engine: Engine) -> Standing:
        """Ask the engine.

        Raises:
            EngineError: it does not answer.
        """
        return cls.of(engine.request("GET", "/info"))

    @classmethod
    def of(cls, info: t.Mapping[str, t.Any]) -> Standing:
        """Read the engine's answer to ``GET /info``."""
        swarm = info["Swarm"]
        state = swarm.get("LocalNodeState") or "inactive"
        role = "" if state != "active" else "manager" if swarm.get("ControlAvailable") else "worker"
        cluster_id = (swarm.get("Cluster") or {}).get("ID", "")
        certificate = Path(info["DockerRootDir"]) / NODE_CERTIFICATE
        # A worker, or a manager without quorum. A remote engine's file system is not ours to read.
        if not cluster_id and state != "inactive" and os.access(certificate, os.R_OK):
            cluster_id = certificate_cluster(certificate.read_text(encoding="ascii"))
        return cls(
            host=info["Name"],
            state=state,
            node_id=swarm.get("NodeID") or "",
            cluster_id=cluster_id,
            role=role,
            address=swarm.get("NodeAddr") or "",
            managers=sorted(manager["Addr"] for manager in swarm.get("RemoteManagers") or []),
            error=swarm.get("Error") or "",
        )
