"""Playbooks that are killed: what an unkilled run leaves, and that a killed one, run again, leaves the same."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from .conftest import INVENTORY, ROOT, Lab, PlayResult, run_playbook

# make test-long draws three moments of each playbook; KILLS=10 draws ten.
SEEDS = pytest.mark.parametrize("seed", range(int(os.environ.get("KILLS", "3"))))

End = dict[str, list[str]]

# Of a host: everything under /etc and /usr/local, so that half-written files and leftovers count, packages and holds,
# units, live rules, images, and containers that are no tasks of the swarm.
LOOK = r"""
part() { echo "= $1"; }
part "owners and modes"; find /etc /usr/local /usr/sbin/policy-rc.d /var/lib/swarmhub /srv/swarmhub \
  \( -path '*/registry/docker' -o -path '/srv/swarmhub/homes/*' \) -prune -o -printf '%p %y %m %u:%g %l\n'
part contents; find /etc /usr/local -xdev -type f -exec sha256sum {} +
part packages; dpkg-query --show --showformat '${Package} ${Version} ${Status}\n'
part units; systemctl list-units --state=active,failed --plain --no-legend --type=service,timer,socket \
  'swarmhub*' 'docker*' 'containerd*' 'postgresql*' | awk '{print $1, $3, $1 ~ /timer$/ ? "" : $4}'
part sysctls; cat /proc/sys/net/ipv4/tcp_keepalive_time
for command in iptables ip6tables; do
  part "$command"; $command --wait -S | grep SWARMHUB- | LC_ALL=C sort --stable --key=2,2 | cat --number
done
part images; docker image ls --format '{{.Repository}}:{{.Tag}}' | grep -v '<none>'
part containers; docker ps --all --format '{{.Label "com.docker.swarm.task.id"}} {{.Names}}' | grep '^ '
part volumes; docker volume ls --quiet | grep swarmhub
part runtime; docker info --format '{{.DefaultRuntime}}'
true
"""
# What is a host's own from the start, and what programs keep for themselves.
OWN = re.compile(
    r"/etc/(ssh/|machine-id|hostname|hosts|mtab|resolv\.conf|adjtime|ld\.so\.cache|\.pwd\.lock|swarmhub-lab"
    r"|(passwd|group|g?shadow|sub[ug]id)-?( |$)|ssl/(certs|private)/\S*snakeoil)"
)
# Docker's objects of the cluster as a whole, and which of them are ours.
KINDS = {
    "network": ["--filter=name=^swarmhub"],
    "secret": [],
    "config": [],
    "node": [],
    "service": ["--filter=label=com.docker.stack.namespace=swarmhub"],
}


def end_of_host(lab: Lab, host: str) -> End:
    """What is on a host, by kind."""
    found: End = {}
    for line in lab.ssh(host, LOOK, timeout=120).splitlines():
        if line.startswith("= "):
            lines = found.setdefault(f"{host}: {line[2:]}", [])
        elif not OWN.search(line):
            lines.append(line)
    return found


def told(value: t.Any, path: str) -> list[str]:
    """Each leaf of decoded JSON on a line of its own."""
    if isinstance(value, dict):
        return [line for key in value if key != "ForceUpdate" for line in told(value[key], f"{path}.{key}")]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [line for each in value for line in told(each, f"{path}[]")]
    return [f"{path} {json.dumps(value)}"]


def end_of_cluster(lab: Lab) -> End:
    """What the managers, the hub and its database know."""
    objects: dict[str, list[dict[str, t.Any]]] = {}
    for kind, which in KINDS.items():
        ids = lab.docker(kind, "ls", "--quiet", *which).split()
        objects[f"{kind}s"] = json.loads(lab.docker(kind, "inspect", *ids)) if ids else []
    text = json.dumps(objects)
    for each in (each for found in objects.values() for each in found):
        # A host that joins anew has another id.
        name = each.get("Name") or each["Spec"].get("Name") or each["Description"]["Hostname"]
        text = text.replace(each.get("ID") or each["Id"], name)
    found = {kind: [line for each in found for line in told_of(each)] for kind, found in json.loads(text).items()}
    users = lab.session("").request("GET", "hub/api/users").json()
    schema = "runuser -u postgres -- pg_dump --schema-only jupyterhub | grep -vE '^.(un)?restrict '"
    return found | {
        "swarm": told(json.loads(lab.docker("info", "--format={{json .Swarm.Cluster.Spec}}")), ""),
        "users and their servers": [f"{user['name']} {sorted(user['servers'])}" for user in users],
        "announcements": told(lab.session("").request("GET", "hub/api/announcements").json(), ""),
        "schema of the database": lab.ssh(lab.manager, schema).splitlines(),
    }


def told_of(each: dict[str, t.Any]) -> list[str]:
    """What stays the same of a network, secret, config, service or node."""
    keys = [key for key in ("Spec", "IPAM", "Options", "Labels", "Driver", "Internal", "Attachable") if key in each]
    described = {key: each[key] for key in keys}
    if "Description" in each:
        described |= {"State": each["Status"]["State"], "Resources": each["Description"]["Resources"]}
    return told(described, each.get("Name") or each["ID"])


def end_state(lab: Lab) -> End:
    """A description of all that the playbooks settle, without times and ids."""
    with ThreadPoolExecutor(4) as pool:
        hosts = pool.map(lambda host: end_of_host(lab, host), lab.variables)
        return {key: value for found in (end_of_cluster(lab), *hosts) for key, value in found.items()}


def differing(wanted: End, found: End) -> list[str]:
    """The lines that only one of the two has."""
    return [
        f"{key}: {sign} {line}"
        for key in sorted(wanted.keys() | found.keys())
        for sign, one, other in (("missing", wanted, found), ("too many", found, wanted))
        for line in sorted(set(one.get(key, [])) - set(other.get(key, [])))
    ]


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed: for how many seconds it ran, and how it left the lab."""

    seconds: float
    end: End


def run_whole(name: str, *arguments: str) -> Whole:
    """Run a playbook, which must end well."""
    result = run_playbook(name, *arguments, timeout=900)
    assert result.code == 0, result.output
    return Whole(result.seconds, end_state(Lab()))


def kill_playbook(seconds: float, name: str, *arguments: str) -> bool:
    """Start a playbook and kill it, with all that it started, after so long; return whether it was at work by then."""
    command = [sys.executable, "-m", "ansible", "playbook", "--inventory", str(INVENTORY), name, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        time.sleep(seconds)
        if run.poll() is not None:
            return False
        run.send_signal(signal.SIGSTOP)  # it starts nobody any more
        # Ansible's workers lead sessions of their own.
        for process in [run.pid, *descendants(run.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return True


def descendants(ancestor: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines():
        process, parent = map(int, line.split())
        children.setdefault(parent, []).append(process)
    found = [ancestor]
    for process in found:
        found += children.get(process, [])
    return found[1:]


def kill_and_mend(seed: int, whole: Whole, name: str, *arguments: str) -> PlayResult:
    """Kill a playbook at a moment of its time, run it again, and find the lab as the unkilled run left it."""
    seconds = random.Random(seed).uniform(0.05, 0.95) * whole.seconds
    early = kill_playbook(seconds, name, *arguments)
    mended = run_playbook(name, *arguments, timeout=900)
    moment = f"{seconds:.1f} of {whole.seconds:.0f} s{'' if early else ', when it had ended'}"
    print(f"{name}, seed {seed}: killed after {moment}; mended in {mended.seconds:.0f} s, exit code {mended.code}")
    assert mended.code == 0, mended.output
    found = differing(whole.end, end_state(Lab()))
    assert found == [], "\n".join(found)
    return mended
