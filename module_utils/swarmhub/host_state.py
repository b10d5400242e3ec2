"""What is on this host, of the names we are asked about: one read-only look with the standard library alone.

Nothing here writes, and nothing is remembered between two looks: a file edited by hand, a stopped unit or an engine
that runs with an older configuration is always seen.
"""

from __future__ import annotations

import grp
import hashlib
import hmac
import json
import os
import platform
import pwd
import re
import socket
import stat
import subprocess
import time
import typing as t
from pathlib import Path
from urllib.parse import quote

from ansible.module_utils.swarmhub import gpus
from ansible.module_utils.swarmhub.boot_state import boot_time, booted, components
from ansible.module_utils.swarmhub.engine import EngineError
from ansible.module_utils.swarmhub.swarm import Standing, named_resources

Facts = dict[str, t.Any]

ENGINE_SOCKET = "/var/run/docker.sock"
COMMAND_TIMEOUT = 20  # seconds; a look that hangs is worse than one that fails
USERSPACE = ("systemctl", "show", "--value", "--property=UserspaceTimestampMonotonic")
# Of the kernel and of the modules that are loaded: a kernel may have a part built in and no list of them.
KERNEL_SYMBOLS = Path("/proc/kallsyms")
SECRET_MODE = 0o600
# What swarm keeps of a membership until the node leaves (moby, daemon/cluster).
MEMBERSHIP = Path("/var/lib/docker/swarm/docker-state.json")
TOOLKIT_CONFIG = Path("/etc/nvidia-container-runtime/config.toml")
ENABLED = ("enabled", "enabled-runtime", "static", "alias", "generated", "indirect")
# The secret whose value keys the fingerprints of all others: without it a fingerprint says nothing about a password.
FINGERPRINT_KEY = "cookie_secret"


def run(*command: str) -> str:
    """Return the output of a read-only command; empty when it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 or command[0] in ("dpkg-query", "systemctl") else ""


def packages(names: list[str]) -> Facts:
    """Return ``{name: {"version": str, "held": bool, "since": float}}`` of those that are fully installed.

    ``since`` is when this version was installed, in Unix seconds. A name may be a pattern of dpkg-query(1).
    """
    if not names:
        return {}
    fields = ("Package", "Version", "db:Status-Want", "db:Status-Status", "db-fsys:Last-Modified")
    output = run("dpkg-query", "-W", "-f", "\t".join(f"${{{field}}}" for field in fields) + "\n", *names)
    rows = (line.split("\t") for line in output.splitlines())
    return {
        row[0]: {"version": row[1], "held": row[2] == "hold", "since": float(row[4] or 0)}
        for row in rows
        if row[3] == "installed"
    }


def candidates(names: list[str]) -> dict[str, str]:
    """Return ``{name: version}`` of what apt would install now; a name that no source has is left out.

    Raises:
        OSError, subprocess.SubprocessError: apt-cache(8) failed: nothing must be taken for new.
    """
    if not names:
        return {}
    command = ["env", "LC_ALL=C", "apt-cache", "policy", *names]
    output = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT, check=True).stdout
    found = re.findall(r"^(\S+):$\n(?:  .*\n)*?  Candidate: (\S+)$", output, re.M)
    return {name: version for name, version in found if version != "(none)"}


def owner_name(uid: int) -> str:
    """Return the user's name, or the number of one that has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the group's name, or the number of one that has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def files(paths: list[str]) -> Facts:
    """Return for each path its type, owner, group, mode, modification time and sha256; ``None`` where it is missing.

    Owner and group both by name and by number (``uid``, ``gid``): either may be asked for.

    A path may be a pattern (glob); then what it matches is returned.
    """
    found: Facts = {}
    names = [match for path in paths for match in (map(str, Path("/").glob(path[1:])) if "*" in path else [path])]
    for path in names:
        try:
            status = Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            found[path] = None
            continue
        directory = stat.S_ISDIR(status.st_mode)
        found[path] = {
            "type": "directory" if directory else "file",
            "owner": owner_name(status.st_uid),
            "group": group_name(status.st_gid),
            "uid": status.st_uid,
            "gid": status.st_gid,
            "mode": f"{stat.S_IMODE(status.st_mode):04o}",
            "mtime": status.st_mtime,
            "sha256": None if directory else hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        }
    return found


def units(names: list[str]) -> Facts:
    """Return ``{name: {"enabled", "active", "failed": bool, "since", "settled": float, "unread": bool}}``.

    ``since``: its start, ``settled``: its start or last reload, in Unix seconds, 0 for never; ``unread``: systemd has
    not read its files since they were written.
    """
    if not names:
        return {}
    asked = "Id,UnitFileState,ActiveState,ActiveEnterTimestampMonotonic,StateChangeTimestampMonotonic,NeedDaemonReload"
    output = run("systemctl", "show", "--no-pager", "-p", asked, *names)
    kernel_start = boot_time()
    found: Facts = {}
    for name, block in zip(names, output.strip().split("\n\n"), strict=False):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        entered, changed = (
            int(values.get(f"{event}TimestampMonotonic") or 0) / 1e6 for event in ("ActiveEnter", "StateChange")
        )
        found[name] = {
            "enabled": values.get("UnitFileState", "") in ENABLED,
            "active": values.get("ActiveState") == "active",
            "failed": values.get("ActiveState") == "failed",
            "since": kernel_start + entered if entered else 0.0,
            "settled": kernel_start + changed if changed else 0.0,
            "unread": values.get("NeedDaemonReload") == "yes",
        }
    return found


def sysctls(names: list[str]) -> dict[str, str | None]:
    """Return the live values, white space folded; ``None`` for a name that the kernel does not have."""
    found: dict[str, str | None] = {}
    for name in names:
        path = Path("/proc/sys") / name.replace(".", "/")
        found[name] = " ".join(path.read_text().split()) if path.exists() else None
    return found


def kernel_modules(names: list[str]) -> dict[str, bool]:
    """Tell which of these parts the kernel has, built in, loaded, or as a module that can be (modprobe(8))."""
    symbols = KERNEL_SYMBOLS.read_text() if names and KERNEL_SYMBOLS.exists() else ""
    return {name: f" {name}_" in symbols or bool(run("modprobe", "--show-depends", name)) for name in names}


class LocalEngine:
    """The engine's socket, by hand: a look must not cost the import of the SDK (0.3 s), or of http.client (0.05 s)."""

    def request(self, method: str, path: str, **_unused: t.Any) -> t.Any:
        """Return the decoded answer.

        Raises:
            EngineError: nothing answers, or the answer is not 200.
        """
        # In this version an answer comes in one piece and ends with the connection (RFC 1945).
        asked = f"{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(COMMAND_TIMEOUT)
                connection.connect(ENGINE_SOCKET)
                connection.sendall(asked.encode())
                answer = connection.makefile("rb").read()
        except OSError as error:
            raise EngineError(method, path, 0, str(error)) from error
        head, _, body = answer.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.\d (\d{3}) ", head)
        if status and status[1] != b"200":
            raise EngineError(method, path, int(status[1]), body.decode(errors="replace"))
        try:
            return json.loads(body)
        except ValueError as error:
            raise EngineError(method, path, 0, "the engine hung up before its answer was complete") from error


def engine() -> tuple[Facts | None, str]:
    """Return version, images, notebooks, resources and membership; ``None`` without an engine.

    With it go the words of an engine that runs and does not answer, else an empty text: notebooks may run there.

    Docker Engine API: ``GET`` of ``/info``, ``/images/json``, ``/containers/json`` and, on a manager,
    ``/nodes``.
    """
    # Without this test, connecting would start a stopped engine through its socket unit.
    if run("systemctl", "is-active", "docker.service").strip() != "active":
        return None, ""
    local = LocalEngine()
    try:
        # It makes the engine run several other programs: asked once.
        info = local.request("GET", "/info")
        images = {
            name
            for image in local.request("GET", "/images/json")
            for key in ("RepoTags", "RepoDigests")
            for name in image.get(key) or []
        }
        notebooks = local.request("GET", "/containers/json?filters=" + quote(json.dumps({"label": ["swarmhub.user"]})))
        standing = Standing.of(info)
    except EngineError as error:
        return None, str(error)
    cluster = info["Swarm"].get("Cluster") or {}
    found = {
        "version": info["ServerVersion"],
        "images": sorted(images),
        "notebooks": len(notebooks),
        "advertised": named_resources(info),
        "swarm": {
            "state": standing.state,
            "node_id": standing.node_id,
            "cluster_id": standing.cluster_id,
            "control_available": standing.role == "manager",
            "error": standing.error,
            "nodes": _nodes(local) if standing.role == "manager" else {},
            # Only managers know; nanoseconds in the API, seconds here.
            "dispatcher_heartbeat": cluster.get("Spec", {}).get("Dispatcher", {}).get("HeartbeatPeriod", 0) / 10**9,
        },
    }
    return found, ""


def _nodes(local: LocalEngine) -> Facts:
    """Return by id what the managers know of the nodes; nothing while they cannot agree (no quorum, an election).

    ``hostname`` is empty and ``cpus`` 0 until a node has told. ``manager`` is the address of a manager that answers the
    others.
    """
    try:
        nodes = local.request("GET", "/nodes")
    except EngineError:
        return {}
    found = {}
    for node in nodes:
        description, manager = node.get("Description") or {}, node.get("ManagerStatus") or {}
        found[node["ID"]] = {
            "hostname": description.get("Hostname", ""),
            "address": node["Status"].get("Addr", ""),
            "state": node["Status"]["State"],
            "role": node["Spec"]["Role"],
            "availability": node["Spec"]["Availability"],
            "cpus": (description.get("Resources") or {}).get("NanoCPUs", 0) // 10**9,
            "manager": manager.get("Addr", "").rpartition(":")[0] if manager.get("Reachability") == "reachable" else "",
        }
    return found


def swarm_resource() -> str:
    """Return the container toolkit's ``swarm-resource``, empty while it is unset or commented out."""
    text = TOOLKIT_CONFIG.read_text() if TOOLKIT_CONFIG.exists() else ""
    match = re.search(r'^swarm-resource\s*=\s*"([^"]*)"', text, re.M)
    return match.group(1) if match else ""


def toolkit_mode() -> str:
    """Return the container toolkit's ``mode`` (``auto``, ``legacy``, …), empty while it is unset or commented out."""
    text = TOOLKIT_CONFIG.read_text() if TOOLKIT_CONFIG.exists() else ""
    table = re.search(r"^\[nvidia-container-runtime\]\n(.*?)(?=^\[|\Z)", text, re.M | re.S)
    match = re.search(r'^\s*mode\s*=\s*"([^"]*)"', table.group(1), re.M) if table else None
    return match.group(1) if match else ""


def fingerprint(key: str, name: str, value: str) -> str:
    """Return what tells whether two holders of a secret have the same one, keyed so that it cannot be guessed from."""
    return hmac.new(key.encode(), f"{name}\0{value}".encode(), hashlib.sha256).hexdigest()[:16]


def fingerprints(directory: str) -> dict[str, str]:
    """Return ``{name: fingerprint}`` of the secrets kept in ``directory``; empty when there are none."""
    path = Path(directory)
    values = {entry.name: entry.read_text() for entry in path.iterdir()} if path.is_dir() else {}
    key = values.get(FINGERPRINT_KEY, "")
    return {name: fingerprint(key, name, value) for name, value in sorted(values.items())}


def open_secrets(directory: str) -> list[str]:
    """Return the names of the secrets kept in ``directory`` that are not this account's alone."""
    path = Path(directory)
    kept = {entry.name: entry.stat() for entry in path.iterdir()} if path.is_dir() else {}
    return sorted(
        name
        for name, status in kept.items()
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != SECRET_MODE
    )


def addresses() -> tuple[dict[str, int], list[str]]:
    """Return this host's own IPv4 addresses and routes in CIDR form, those of the engine's own networks left out.

    With each address goes the MTU of its interface, the largest packet in bytes.
    """
    own = json.loads(run("ip", "-4", "-json", "address", "show", "scope", "global") or "[]")
    site = [link for link in own if not re.match(r"docker|br-|veth|vx-", link.get("ifname", ""))]
    names = {link["ifname"] for link in site}
    routes = json.loads(run("ip", "-4", "-json", "route", "show") or "[]")
    return (
        {f"{each['local']}/{each['prefixlen']}": link["mtu"] for link in site for each in link.get("addr_info", [])},
        [route["dst"] for route in routes if route.get("dev") in names and route["dst"] != "default"],
    )


def distribution() -> dict[str, str]:
    """Return ``id`` and ``version`` as /etc/os-release has them (os-release(5))."""
    release = platform.freedesktop_os_release()
    return {"id": release.get("ID", ""), "version": release.get("VERSION_ID", "")}


def free_mb(path: str) -> int:
    """Return the free space in MiB where ``path`` is, or would be made."""
    place = Path(path)
    while not place.exists():
        place = place.parent
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize // 2**20


def file_system(path: str, mountinfo: str = "/proc/self/mountinfo") -> Facts:
    """Return ``type`` and mount ``options`` of the file system that holds ``path``, or would hold it (proc(5))."""
    real = os.path.realpath(path)
    found: Facts = {"type": "", "options": []}
    longest = 0
    for line in Path(mountinfo).read_text().splitlines():
        place, _, device = (part.split() for part in line.partition(" - "))
        target = place[4].replace("\\040", " ")
        # Of two mounts at one place the later one is seen.
        if len(target) >= longest and (real + "/").startswith(target.rstrip("/") + "/"):
            longest = len(target)
            found = {"type": device[0], "options": sorted({*place[5].split(","), *device[2].split(",")})}
    return found


def rules(listed: str, chains: str) -> list[str]:
    """Return the rules of the chains that begin with ``chains``, and those that lead there, out of ``iptables -S``.

    In the order of each chain; that of the chains themselves is another as soon as somebody makes one.
    """
    return sorted((line for line in listed.splitlines() if chains in line), key=lambda line: line.split()[1])


def firewall_intact(chains: str, loaded: str, written: list[str]) -> bool:
    """Tell whether the live rules are what their unit loaded last, and it loaded what is ``written`` now.

    What it loaded is kept in ``loaded``.v4 and .v6, in the listed form.
    """
    if not Path(f"{loaded}.v4").exists():
        return False
    kept = {"iptables": Path(f"{loaded}.v4"), "ip6tables": Path(f"{loaded}.v6")}
    since = Path(f"{loaded}.v4").stat().st_mtime
    return all(Path(file).stat().st_mtime <= since for file in written if Path(file).exists()) and all(
        rules(run(command, "--wait", "-S"), chains) == rules(path.read_text(), chains)
        for command, path in kept.items()
        if path.exists()  # a kernel without IPv6 has no second one
    )


def exports(own: str) -> list[Facts]:
    """Return what the NFS server exports, as ``{path, client, options, elsewhere}``.

    ``elsewhere`` tells that another file than ``own`` has it as well. What is live is in exportfs(8)'s own table:
    ``exportfs -v`` does not show all of its options.
    """
    written = [Path("/etc/exports"), *Path("/etc/exports.d").glob("*.exports")]
    others = {pair for path in written if str(path) != own for pair in _pairs(path)}
    live = _pairs(Path("/var/lib/nfs/etab"))
    return [
        {"path": path, "client": client, "options": options, "elsewhere": (path, client) in others}
        for (path, client), options in sorted(live.items())
    ]


def _pairs(file: Path) -> dict[tuple[str, str], list[str]]:
    """Return ``{(path, client): options}`` of a file as exports(5) describes it; empty where there is none."""
    text = file.read_text() if file.exists() else ""
    found = {}
    for line in re.sub(r"#.*|\\\n", "", text).splitlines():
        path, *clients = re.findall(r'"[^"]*"|\S+', line) or [""]
        path = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), path.strip('"'))
        for word in clients:
            client, _, options = word.rstrip(")").partition("(")
            found[path, client] = options.split(",")
    return found


def postgres(database: str, role: str) -> Facts:
    """Tell whether the local server has ``database`` and ``role``, and name all of its ``roles``."""

    def names(table: str, column: str) -> list[str]:
        query = f"SELECT {column} FROM {table}"  # noqa: S608 - both are the constants below
        return run("runuser", "-u", "postgres", "--", "psql", "-XAtc", query).splitlines()

    roles = names("pg_roles", "rolname")
    return {"database": database in names("pg_database", "datname"), "role": role in roles, "roles": roles}


def answer(names: Facts) -> Facts:
    """Return ``{"state": what look returns}``, or ``{"fault": why the host cannot be looked at}``."""
    try:
        return {"state": look(names)}
    except (OSError, subprocess.SubprocessError) as error:
        return {"fault": str(error)}


def look(names: Facts) -> Facts:
    """Return everything that ``names`` asks about (the module's own parameters), and the basics of the host."""
    own, routes = addresses()
    engine_found, engine_fault = engine()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    state: Facts = {
        "hostname": socket.gethostname(),
        "distribution": distribution(),
        "python": platform.python_version(),
        "addresses": list(own),
        "mtus": own,
        "routes": routes,
        "memory_mb": memory,
        "cpus": os.cpu_count() or 1,
        "machine_id": Path("/etc/machine-id").read_text().strip() if Path("/etc/machine-id").exists() else "",
        "disk": {"/var/lib/docker": {"free_mb": free_mb("/var/lib/docker")}},
        "packages": packages(names["packages"]),
        "candidates": candidates(names["candidates"]),
        "files": files(names["files"]),
        "units": units(names["units"]),
        "sysctls": sysctls(names["sysctls"]),
        "engine": engine_found,
        "engine_fault": engine_fault,
        "secrets": fingerprints(names["secrets_dir"]) if names["secrets_dir"] else {},
        "open_secrets": open_secrets(names["secrets_dir"]) if names["secrets_dir"] else [],
        "cards": [],
        "card_faults": [],
        "swarm_resource": swarm_resource() if names["cards"] else "",
        "toolkit_mode": toolkit_mode() if names["cards"] else "",
        "kernel": platform.release(),
        "kernel_modules": kernel_modules(names["kernel_modules"]),
        "booted": booted(run(*USERSPACE)) if names["cards"] else 0.0,
        "components": components() if names["cards"] else [],
    }
    if names["cards"]:
        seen = gpus.read()
        state |= {"cards": seen["cards"], "card_faults": seen["faults"]}
    if names["firewall"]:
        state["firewall_intact"] = firewall_intact(**names["firewall"])
    if names["exports"]:
        state["exports"] = exports(names["exports"])
    state["file_systems"] = {path: file_system(path) for path in names["file_systems"]}
    if names["postgres"]:
        state["postgres"] = postgres(names["postgres"]["database"], names["postgres"]["role"])
    # Of an engine that does not run the files tell whether it is a member.
    without_engine = {"state": "stopped" if MEMBERSHIP.exists() else "inactive"}
    state["swarm"] = (engine_found or {}).get("swarm", without_engine)
    state["time"] = time.time()
    return state
