"""The state that site.yml wants, for pyinfra: by its own operations, as its documentation shows them.

DESIRED=FOLDER pyinfra --yes inventory.py deploy.py
"""

import json
from io import StringIO

import swarm
import system
from pyinfra import host
from pyinfra.facts.postgres import PostgresRoles
from pyinfra.operations import apt, docker, files, postgres, server, systemd

desired = json.loads(host.data.desired.read_text())
CERTIFICATES = "/usr/local/share/ca-certificates/"
UNITS = "/etc/systemd/system/"
SOURCES = ("/etc/apt/", CERTIFICATES)  # what the packages come from, and whom to trust then
FIREWALL = "/etc/swarmhub/firewall"
written = {}


def anything_changed(*beginnings):
    """A condition for ``_if``: whether a file was written whose path begins so."""
    return lambda: any(put.did_change() for path, put in written.items() if path.startswith(beginnings))


def write(wanted):
    """Write these files."""
    for each in host.loop(wanted):
        written[each["path"]] = files.put(
            name=f"Write {each['path']}",
            src=StringIO(each["content"]),
            dest=each["path"],
            user=each["owner"],
            group=each["group"],
            mode=each["mode"],
            create_remote_dir=False,
        )


def make(wanted):
    """Make these directories."""
    for each in host.loop(wanted):
        files.directory(
            name=f"Make {each['path']}",
            path=each["path"],
            user=each["owner"],
            group=each["group"],
            mode=each["mode"],
        )


# --- packages
make([each for each in desired["directories"] if each["path"].startswith(SOURCES)])
write([each for each in desired["files"] if each["path"].startswith(SOURCES)])
for path in host.loop(desired["absent"]):
    files.file(name=f"Take {path} away", path=path, present=False)
server.shell(
    name="Trust the site's certificate authorities",
    commands="update-ca-certificates",
    _if=anything_changed(CERTIFICATES),
)
apt.update(name="Read the package lists", _if=anything_changed("/etc/apt/"))
apt.packages(name="Install the packages", packages=desired["packages"], no_recommends=True)
system.held(name="Hold packages", packages=desired["held"])

# --- files
make([each for each in desired["directories"] if not each["path"].startswith(SOURCES)])
write([each for each in desired["files"] if not each["path"].startswith(SOURCES)])
for key, value in host.loop(desired["sysctls"].items()):
    server.sysctl(name=f"Set {key}", key=key, value=value)  # the file is one of those above
if desired["swarm_resource"]:
    files.line(
        name="Let the container toolkit follow swarm's assignment of cards",
        path="/etc/nvidia-container-runtime/config.toml",
        line=r"^\s*#?\s*swarm-resource\s*=.*$",
        replace=f'swarm-resource = "{desired["swarm_resource"]}"',
        extended_regex=True,
    )

# --- units
systemd.daemon_reload(name="Let systemd read its units", _if=anything_changed(UNITS))
for unit in host.loop(desired["units"]):
    systemd.service(
        name=f"{'Start' if unit['on'] else 'Stop'} {unit['name']}",
        service=unit["name"],
        running=unit["on"],
        enabled=unit["on"],
    )
    if unit["on"] and unit["after"]:
        systemd.service(
            name=f"Restart {unit['name']} with its new settings",
            service=unit["name"],
            restarted=True,
            _if=anything_changed(*unit["after"]),
        )
if desired["firewall"]:
    system.firewall(name="Keep the firewall's live rules")
    systemd.service(
        name="Load the firewall's new rules",
        service="swarmhub-firewall.service",
        reloaded=True,
        _if=anything_changed(FIREWALL),
    )

# --- the database
if desired["postgres"]:
    database = desired["postgres"]
    # The operation writes a password each time that it is given one.
    roles = host.get_fact(PostgresRoles, _sudo_user="postgres")
    postgres.role(
        name="Make the hub's role",
        role=database["role"],
        password=None if database["role"] in roles else database["password"],
        connection_limit=20,
        _sudo_user="postgres",
    )
    postgres.database(
        name="Make the hub's database",
        database=database["database"],
        owner=database["role"],
        template="template0",
        encoding="UTF8",
        _sudo_user="postgres",
    )
    if database["reader"]:
        postgres.role(name="Make the exporter's role", role=database["reader"], _sudo_user="postgres")
        system.granted(name="Let it read statistics", role="pg_monitor", to=database["reader"], _sudo_user="postgres")

# --- the swarm
if desired["role"]:
    swarm.member(name="Join the swarm", role=desired["role"], address=desired["address"])
    for image in host.loop(desired["images"]):
        docker.image(name=f"Pull {image}", image=image, _env={"DOCKER_CONFIG": "/etc/swarmhub/docker"})

if host.data.get("cluster"):
    cluster = json.loads(host.data.cluster.read_text())
    swarm.heartbeat(name="Set the dispatcher's heartbeat", seconds=cluster["heartbeat"])
    for node in host.loop(cluster["nodes"]):
        swarm.node(name=f"Label {node['host']}", node=node)
    for network in host.loop(cluster["networks"]):
        swarm.network(name=f"Make network {network['name']}", wanted=network)
    for content in host.loop(cluster["contents"]):
        swarm.content(name=f"Keep {content['kind']} {content['name']}", wanted=content)
    swarm.stack(name="Deploy proxy and hub", stack="swarmhub", services=cluster["services"], compose=cluster["compose"])
    swarm.converged(name="Wait until they run", services=[service["Name"] for service in cluster["services"]])
