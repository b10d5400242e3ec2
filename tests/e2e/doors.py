"""Listeners that a notebook must not reach, each known by its own first words: a bare connect may be anybody's.

The same code tries them from a notebook, from a host and from the hub, where they must be there.
"""

from __future__ import annotations

import json
import re
import shlex
import typing as t

from .conftest import Lab

Door = tuple[str, str, int]

PROBE = """
import json, socket, ssl, struct
def tls(stream):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(stream)
def get(stream, path):
    stream.sendall(f"GET {path} HTTP/1.0\\r\\n\\r\\n".encode())
    return stream.recv(4096)
def says(kind, stream):
    if kind in ("ssh", "engine"):
        return stream.recv(64)
    if kind == "swarm":
        return tls(stream).getpeercert(binary_form=True)
    if kind == "registry":
        return get(tls(stream), "/v2/")
    if kind == "proxy-api":
        return get(stream, "/api/routes")
    if kind == "metrics":
        return get(stream, "/metrics")
    if kind == "postgres":
        stream.sendall(struct.pack("!II", 8, 80877103))  # SSLRequest
        return stream.recv(1)
    if kind == "nfs":
        call = struct.pack("!10I", 1, 0, 2, 100003, 4, 0, 0, 0, 0, 0)  # RPC NULL of NFS 4
        stream.sendall(struct.pack("!I", 0x80000000 | len(call)) + call)
        return stream.recv(64)[4:]
    return b"bare"
WORDS = {"ssh": b"SSH-2.0", "engine": b"engine-of-the-test", "swarm": b"swarm-ca", "registry": b"registry/2.0",
         "proxy-api": b"403", "metrics": b"version=0.0.4", "postgres": b"",
         "nfs": struct.pack("!3I", 1, 1, 0), "bare": b"bare"}
found = {}
for kind, place, port in json.loads(%r):
    try:
        with socket.create_connection((place, port), 3) as stream:
            said = says(kind, stream)
            known = said in (b"S", b"N") if kind == "postgres" else WORDS[kind] in said
            answer = "answers" if known else f"somebody else: {said[:40]}"
    except ConnectionRefusedError:
        answer = "refused"
    except socket.gaierror:
        answer = "no such name"
    except OSError as error:
        answer = "silent" if isinstance(error, TimeoutError) else str(error)
    found[f"{kind} {place}:{port}"] = answer
print(json.dumps(found))
"""
#: So many packets our firewall has refused, by protocol.
REFUSALS = re.compile(r"^\s*(\d+)\s+\d+\s+REJECT\s+(tcp|udp|6|17)\b", re.MULTILINE)


def code(doors: t.Iterable[Door]) -> str:
    """The program that tries these doors."""
    return PROBE % json.dumps(list(doors))


def from_host(lab: Lab, host: str, doors: t.Iterable[Door]) -> dict[str, str]:
    """What the doors say to a host."""
    return t.cast("dict[str, str]", json.loads(lab.ssh(host, f"python3 -c {shlex.quote(code(doors))}")))


def refusals(lab: Lab, host: str) -> dict[str, int]:
    """How many packets of containers a host's firewall has refused."""
    found = {"tcp": 0, "udp": 0}
    for packets, protocol in REFUSALS.findall(lab.ssh(host, "iptables -w 5 -nvxL SWARMHUB-REFUSE")):
        found[{"6": "tcp", "17": "udp"}.get(protocol, protocol)] += int(packets)
    return found
