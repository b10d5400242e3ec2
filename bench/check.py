"""Whether the three that bench/run.py compares keep the same state: each mends the same faults, and all is as before.

python -m bench.check     on the lab that is up: about ten minutes, in which its hub restarts

One thing of each kind is broken. Networks, secrets and configs are missing here: what a service uses, the engine does
not let go.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import desired
from bench.contenders import Contender, ours, plain, pyinfra
from tests.e2e.conftest import Lab

Json = dict[str, t.Any]
WORKER, GPU, MANAGER = "cpu1", "gpu1", "mgr1"
EXPORTER = "prometheus-node-exporter"
# What is broken, on which host, and how; {names} are those of the manager's nodes, by host.
FAULTS = (
    ("a file edited", WORKER, "echo '# edited' >> /etc/swarmhub/firewall.v4"),
    ("a file's mode", WORKER, "chmod 666 /etc/needrestart/conf.d/swarmhub.conf"),
    ("a file's owner", WORKER, f"chown nobody /etc/default/{EXPORTER}"),
    ("a file gone", WORKER, "rm /etc/docker/certs.d/*/ca.crt"),
    ("a file that is to be absent", WORKER, "touch /etc/apt/sources.list.d/debian.sources"),
    ("a directory's mode", WORKER, "chmod 777 /etc/swarmhub"),
    ("a unit stopped", WORKER, f"systemctl stop {EXPORTER}"),
    ("a unit disabled", GPU, "systemctl disable swarmhub-host-metrics.timer"),
    ("a kernel's parameter", WORKER, "sysctl -w net.ipv4.tcp_keepalive_time=7200"),
    ("a live rule of the firewall", GPU, "iptables -I SWARMHUB-INPUT -p tcp --dport 9 -j ACCEPT"),
    ("a package gone", GPU, f"DEBIAN_FRONTEND=noninteractive apt-get remove --quiet=2 --yes {EXPORTER}"),
    ("a hold", WORKER, "apt-mark unhold runc"),
    ("the toolkit's setting", GPU, "sed -i 's/^swarm-resource/#&/' /etc/nvidia-container-runtime/config.toml"),
    ("an image gone", WORKER, "docker image rm {image}"),
    ("a role of the database", MANAGER, "runuser -u postgres -- psql -c 'DROP ROLE prometheus'"),
    ("a node's label", MANAGER, "docker node update --label-rm calculation_type {node}"),
    ("a service gone", MANAGER, "docker service rm swarmhub_proxy"),
    ("a service changed", MANAGER, "docker service update --detach --limit-cpu 0.5 swarmhub_hub"),
)
DATABASE = "SELECT rolname, rolcanlogin FROM pg_roles UNION SELECT datname, true FROM pg_database ORDER BY 1"
GRANTS = "SELECT roleid::regrole, member::regrole FROM pg_auth_members ORDER BY 1, 2"


def look_script(wanted: Json) -> str:
    """A script that prints all of a host that the contenders keep."""
    paths = [each["path"] for kind in ("directories", "files") for each in wanted[kind]] + wanted["absent"]
    packages = [name.partition("=")[0] for name in wanted["packages"]]
    lines = [
        f"stat --format '%n: %F %a %U %G' {shlex.join(paths)} 2>&1",
        f"sha256sum {shlex.join(each['path'] for each in wanted['files'])} 2>&1",
        f"dpkg-query --show {shlex.join(packages)} 2>&1",
        "apt-mark showhold",
        *(
            f"echo {unit['name']}: $(systemctl is-enabled {unit['name']} 2>&1) $(systemctl is-active {unit['name']})"
            for unit in wanted["units"]
        ),
        *(f"sysctl {name}" for name in wanted["sysctls"]),
        "iptables -S | grep SWARMHUB-; ip6tables -S | grep SWARMHUB-",
        "grep ^swarm-resource /etc/nvidia-container-runtime/config.toml 2> /dev/null",
        *(f"docker image inspect --format '{{{{.RepoTags}}}} {{{{.Id}}}}' {image} 2>&1" for image in wanted["images"]),
        "docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}'",
    ]
    if wanted["postgres"]:
        lines += [f"runuser -u postgres -- psql -Atc {shlex.quote(query)}" for query in (DATABASE, GRANTS)]
    return "\n".join([*lines, "true"])


def kept(wanted: t.Any, live: t.Any) -> t.Any:
    """Of what is there, what somebody wants something of; lists in one order."""
    if isinstance(wanted, dict):
        return {key: kept(value, (live or {}).get(key)) for key, value in wanted.items()}
    if isinstance(wanted, list) and wanted:
        return sorted((kept(wanted[0], each) for each in live or []), key=json.dumps)
    return live or None


def look_at_swarm(lab: Lab, cluster: Json) -> Json:
    """All of the swarm that the contenders keep."""
    nodes = lab.inspect("node", *(node["id"] for node in cluster["nodes"]))
    specs = json.dumps([each["Spec"] for each in lab.inspect("service", *lab.services())])
    for kind in ("network", "secret", "config"):
        # What is made anew has another id and is the same.
        listed = lab.docker(kind, "ls", *(["--no-trunc"] if kind == "network" else []), "--format={{.ID}} {{.Name}}")
        for line in listed.splitlines():
            specs = specs.replace(*line.split())
    services = {spec["Name"]: spec for spec in json.loads(specs)}
    networks = lab.inspect("network", *(network["name"] for network in cluster["networks"]))
    keys = ("Name", "Driver", "Attachable", "Internal", "IPAM", "Labels")
    return {
        **{f"node {node['ID']}": [node["Spec"]["Labels"], node["Spec"]["Role"]] for node in nodes},
        **{f"network {each['Name']}": {key: each[key] for key in keys} for each in networks},
        **{f"service {each['Name']}": kept(each, services.get(each["Name"])) for each in cluster["services"]},
        **{kind: sorted(lab.docker(kind, "ls", "--format={{.Name}}").split()) for kind in ("secret", "config")},
    }


def look(lab: Lab, folder: Path) -> dict[str, t.Any]:
    """All that the contenders keep, by host and line, or thing of the swarm."""
    scripts = {host: look_script(json.loads((folder / f"{host}.json").read_text())) for host in lab.variables}
    with ThreadPoolExecutor(4) as pool:
        seen = dict(zip(scripts, pool.map(lambda host: lab.ssh(host, scripts[host]), scripts), strict=True))
    swarm = look_at_swarm(lab, json.loads((folder / "cluster.json").read_text()))
    return {**{host: sorted(text.splitlines()) for host, text in seen.items()}, **swarm}


def differing(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> list[str]:
    """What differs between two looks, in words."""
    found = []
    for name in before:
        was, now = before[name], after[name]
        if was != now and isinstance(was, list):
            found += [f"{name}: {line}" for line in (*was, *now) if was.count(line) != now.count(line)]
        elif was != now:
            found.append(f"{name}: {json.dumps(was)} is now {json.dumps(now)}")
    return found


def mends(contender: Contender, lab: Lab, folder: Path, right: t.Mapping[str, t.Any]) -> bool:
    """Break everything and let one mend it; whether all is as before."""
    cluster = json.loads((folder / "cluster.json").read_text())
    values = {
        "image": json.loads((folder / f"{WORKER}.json").read_text())["images"][0],
        "node": next(node["id"] for node in cluster["nodes"] if node["host"] == WORKER),
    }
    seen = right
    for what, host, script in FAULTS:
        lab.ssh(host, script.format(**values), timeout=120)
        broken = look(lab, folder)
        assert differing(seen, broken), f"{what}: the look does not see it"
        seen = broken
    contender.run()
    left = differing(right, look(lab, folder))
    print(
        f"{contender.name}: {len(FAULTS)} faults, {'all mended' if not left else 'left:'}",
        *left,
        sep="\n  ",
        flush=True,
    )
    return not left


def main() -> int:
    """See the module; 1 when somebody left something otherwise."""
    lab = Lab()
    with tempfile.TemporaryDirectory(prefix="swarmhub-bench-") as work:
        folder = desired.write(Path(work) / "desired")
        contenders = (ours(), pyinfra(folder), plain(folder))
        for contender in contenders:
            contender.run()
        right = look(lab, folder)
        try:
            same = [mends(contender, lab, folder, right) for contender in contenders]
        finally:
            ours().run()
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
