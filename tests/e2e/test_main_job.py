"""The main job on a lab that is up: from the sign-in page to a running notebook, and what it must not cost or show."""

from __future__ import annotations

import re
import shutil
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.swarmhub.probe import SECRET_NAME
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import TokenSession

from .conftest import Lab, edit_hosts, run_playbook, secrets_seen_in

SECOND_RUN_SECONDS = 15
# A host that is right costs the look, the comparison and little more; the rest is done once, on one manager.
EVENTS_OF_A_HOST, EVENTS_OF_THE_CLUSTER = 2, 12
HUB_MIB, PROXY_MIB, SERVERS = 260, 80, 10
UUID = r"(?:GPU|MIG)-[0-9a-fA-F-]+"


# --- the plays -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verified(lab: Lab) -> str:
    """What verify.yml printed."""
    result = run_playbook("playbooks/verify.yml", timeout=600)
    assert result.code == 0, result.output
    return result.output


def seen(table: str, profile: str, step: str) -> str:
    """The last column of a row of verify.yml's table."""
    match = re.search(rf"^ *{profile}\s+{step}\s+(?:passed|one node only)\s+[\d.]+  (.*)$", table, re.M)
    assert match, f"no row '{step}' of profile {profile} in\n{table}"
    return match[1]


def test_verify_passes_and_a_gpu_server_sees_exactly_one_card(lab: Lab, verified: str) -> None:
    assert re.fullmatch(UUID, seen(verified, lab.profile(cards=True), "see the profile's cards"))


def test_a_cpu_server_sees_no_card(lab: Lab, verified: str) -> None:
    assert seen(verified, lab.profile(cards=False), "see the profile's cards") == "none"


def test_a_gpu_server_finds_its_file_on_another_node(lab: Lab, verified: str) -> None:
    first, second = seen(verified, lab.profile(cards=True), "start on another node").split(", then ")
    assert first != second


def test_a_second_run_changes_nothing_and_is_quick(lab: Lab) -> None:
    result = run_playbook("site.yml")

    assert result.code == 0, result.output
    assert result.changed == dict.fromkeys(lab.variables, 0), result.output
    print(f"{result.seconds:.1f} s, {result.events} events on {len(lab.variables)} hosts")
    assert result.seconds < SECOND_RUN_SECONDS, result.output
    assert result.events <= EVENTS_OF_A_HOST * len(lab.variables) + EVENTS_OF_THE_CLUSTER, result.output


def test_check_mode_predicts_no_change(lab: Lab) -> None:
    result = run_playbook("site.yml", "--check", "--diff")

    assert result.code == 0, result.output
    assert result.changed == dict.fromkeys(lab.variables, 0), result.output
    assert not re.search(r"^(--- before|\+\+\+ after)", result.output, re.MULTILINE), result.output


def test_check_mode_foretells_new_images(lab: Lab) -> None:
    result = run_playbook("site.yml", "--check", "-e", "hub_images_base=debian:another")

    assert result.code == 0, result.output
    for name in ("hub", "proxy", "notebook"):
        assert re.search(rf"{name} would be built as \S+/{name}:[0-9a-f]{{12}}\n", result.output), result.output
    assert all(result.changed.values()), result.output


# --- the secrets -----------------------------------------------------------------------------------------------------


def test_the_stack_shows_no_secret(lab: Lab) -> None:
    services = lab.services()
    assert len(services) >= 2
    shown = str(lab.inspect("service", *services))
    for service in services:
        for host, container in lab.containers(service):
            shown += str(lab.inspect("container", container, host=host))
    assert "Config" in shown
    assert secrets_seen_in(shown) == []


def test_a_very_verbose_run_shows_no_secret(lab: Lab) -> None:
    result = run_playbook("site.yml", "-vvv")

    assert result.code == 0
    assert "PLAY RECAP" in result.output
    assert secrets_seen_in(result.output) == []


def test_the_search_finds_a_secret_that_is_there(lab: Lab) -> None:
    assert secrets_seen_in(f"x{lab.api_token}y") == ["api_token"]


def test_a_notebook_holds_its_own_token_alone_until_it_stops(lab: Lab) -> None:
    session = lab.add_user("e2e-token")
    try:
        session.start(lab.profile(cards=False))
        session.wait_until_ready()
        (service,) = lab.inspect("service", *lab.services(session.name))
        container = service["Spec"]["TaskTemplate"]["ContainerSpec"]
        environment = dict(entry.split("=", 1) for entry in container["Env"])
        token = environment["JUPYTERHUB_API_TOKEN"]

        assert secrets_seen_in(str(service)) == []
        assert [name for name, value in environment.items() if SECRET_NAME.search(name) and value != token] == []
        assert not container.get("Secrets")
        assert session.token_is_accepted(token)

        session.stop()
        assert not session.token_is_accepted(token)
    finally:
        lab.remove_user(session)


def test_a_second_administrator_without_the_secrets_is_refused(lab: Lab, copied_inventory: Path) -> None:
    shutil.rmtree(copied_inventory / "secrets")
    before = lab.docker("secret", "ls", "--quiet")
    result = run_playbook("site.yml", inventory=copied_inventory)

    assert result.code != 0
    assert re.search(rf"\b{lab.manager}\b.*secret|secret.*\b{lab.manager}\b", result.output, re.IGNORECASE), (
        result.output
    )
    assert set(result.changed.values()) <= {0}, result.output
    assert not list(copied_inventory.glob("secrets/*"))
    assert lab.docker("secret", "ls", "--quiet") == before


# --- what goes wrong on a day ----------------------------------------------------------------------------------------


def test_a_hub_that_is_replaced_keeps_the_notebooks(lab: Lab, notebook: TokenSession) -> None:
    """An update of the hub is everyday life: kernels go on, and the hub knows their servers again."""
    before = lab.containers(*lab.services(notebook.name))
    with Kernel(notebook, 30) as kernel:
        assert kernel.run("x = 6 * 7") == ""
        lab.docker("service", "update", "--force", "--quiet", "swarmhub_hub", timeout=120)
        assert kernel.run("print(x)") == "42\n"
    notebook.wait_until_ready()
    assert lab.containers(*lab.services(notebook.name)) == before


def test_a_notebook_does_not_reach_the_proxys_api(lab: Lab, notebook: TokenSession) -> None:
    """Who has that API, and its token, has everybody's traffic. The hub's door shows that an open one is seen."""
    code = """
import socket
for address in (("hub", 8081), ("proxy", 8000), ("proxy", 8001), ("proxy-api", 8001)):
    try:
        socket.create_connection(address, 3).close()
        print(*address)
    except OSError:
        pass
"""
    with Kernel(notebook, 30) as kernel:
        assert kernel.run(code) == "hub 8081\nproxy 8000\n"


@pytest.mark.parametrize("action", ["restart", "reload-or-restart"])
def test_the_firewall_spares_docker_ssh_and_a_running_kernel(lab: Lab, notebook: TokenSession, action: str) -> None:
    ((host, _),) = lab.containers(*lab.services(notebook.name))
    chains = "iptables -S | grep -oE '^-N DOCKER[A-Z0-9-]*' | sort"
    before = lab.ssh(host, chains)
    assert "DOCKER-USER" in before, f"{host} has no chains of Docker: {before}"

    with Kernel(notebook, 30) as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
        lab.ssh(host, f"systemctl {action} swarmhub-firewall.service && systemctl is-active swarmhub-firewall.service")
        assert kernel.run("print(6 * 7)") == "42\n"
    with Kernel(notebook, 30) as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    assert lab.ssh(host, chains) == before
    ways = {"-A INPUT -j SWARMHUB-INPUT", "-A DOCKER-USER -j SWARMHUB-FORWARD"}
    assert ways <= set(lab.ssh(host, "iptables -S").splitlines())


def test_hub_and_proxy_are_small_under_ten_servers(lab: Lab) -> None:
    users = [lab.add_user(f"e2e-{number}") for number in range(SERVERS)]

    def start(session: TokenSession) -> None:
        session.start(lab.profile(cards=False))
        session.wait_until_ready()

    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(start, users))
        running = [session.server() for session in users]
        assert all(server and server["ready"] for server in running)
        hub = resident(lab, "swarmhub_hub", "jupyterhub")
        proxy = resident(lab, "swarmhub_proxy", "configurable-http-proxy")
        print(f"with {SERVERS} servers: hub {hub:.0f} MiB, proxy {proxy:.0f} MiB")
        assert hub < HUB_MIB
        assert proxy < PROXY_MIB
    finally:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lab.remove_user, users))


def resident(lab: Lab, service: str, program: str) -> float:
    """The largest VmRSS, in MiB, among a service's processes whose command line names ``program``."""
    ((host, container),) = lab.containers(service)
    processes = [
        line.split(maxsplit=1) for line in lab.docker("top", container, "-eo", "pid,args", host=host).splitlines()
    ]
    pids = [pid for pid, command in processes if program in command]
    assert pids, f"{service} has no process {program}: {processes}"
    sizes = lab.ssh(host, f"sed -n 's/^VmRSS:\\s*//p' {' '.join(f'/proc/{pid}/status' for pid in pids)}").splitlines()
    return max(int(size.split()[0]) for size in sizes) / 1024


# --- bad input -------------------------------------------------------------------------------------------------------


def move_out_of_reach(everything: dict[str, t.Any]) -> None:
    """Give every host an address that leads nowhere: who contacts a host now, fails or hangs."""
    for number, host in enumerate(everything["hosts"].values()):
        host["ansible_host"] = f"192.0.2.{number + 1}"


def misspell_a_group(everything: dict[str, t.Any]) -> None:
    """gpu_workers becomes gpu_worker."""
    everything["children"]["gpu_worker"] = everything["children"].pop("gpu_workers")


def make_two_managers(everything: dict[str, t.Any]) -> None:
    """A worker becomes the second manager."""
    everything["children"]["managers"]["hosts"]["cpu1"] = None


@pytest.mark.parametrize(("spoil", "word"), [(misspell_a_group, "gpu_worker"), (make_two_managers, "managers")])
def test_what_the_inventory_tells_is_refused_before_any_host_is_contacted(
    lab: Lab, copied_inventory: Path, spoil: t.Callable[[dict[str, t.Any]], None], word: str
) -> None:
    edit_hosts(copied_inventory, spoil)
    edit_hosts(copied_inventory, move_out_of_reach)
    result = run_playbook("site.yml", inventory=copied_inventory, timeout=60)

    assert result.code != 0
    assert re.search(rf"\b{word}\b", result.output), result.output
    assert "UNREACHABLE" not in result.output
    assert sum(counts["unreachable"] for counts in result.stats.values()) == 0
    assert sum(result.changed.values()) == 0


def test_what_a_look_at_the_hosts_tells_is_refused_before_the_first_change(lab: Lab, copied_inventory: Path) -> None:
    """The cards are known only to the hosts; the missing file is what a run that went on would mend."""
    path = copied_inventory / "group_vars" / "all.yml"
    variables = yaml.safe_load(path.read_text())
    gpu = next(profile for profile in variables["hub_profiles"] if profile.get("gpus"))
    gpu["gpus"] = 9
    path.write_text(yaml.safe_dump(variables))
    marker = "/etc/swarmhub/secrets/api_token"
    lab.ssh(lab.manager, f"mv {marker} {marker}.away")
    try:
        result = run_playbook("site.yml", inventory=copied_inventory, timeout=120)
    finally:
        lab.ssh(lab.manager, f"mv {marker}.away {marker}")

    assert result.code != 0
    assert "hub_profiles[1].gpus" in result.output, result.output
    assert sum(result.changed.values()) == 0, result.output


def test_a_host_that_does_not_answer_is_named_and_left_out_only_on_demand(lab: Lab, copied_inventory: Path) -> None:
    """A file that is missing on a manager is mended only by the run that goes on without the worker."""

    def lose_a_worker(everything: dict[str, t.Any]) -> None:
        address = lab.variables["cpu1"]["ansible_host"]
        everything["hosts"]["cpu1"]["ansible_host"] = address.rpartition(".")[0] + ".250"

    marker = "/etc/swarmhub/secrets/api_token"
    lab.ssh(lab.manager, f"mv {marker} {marker}.away")
    try:
        edit_hosts(copied_inventory, lose_a_worker)
        result = run_playbook("site.yml", inventory=copied_inventory, timeout=120)

        assert result.code != 0
        assert "No answer from cpu1. Nothing was changed on any host." in result.output, result.output
        assert {host: changed for host, changed in result.changed.items() if changed} == {}, result.output
        assert lab.ssh(lab.manager, f"test -e {marker} || echo gone").strip() == "gone"

        result = run_playbook("site.yml", "-e", "skip_unreachable=true", inventory=copied_inventory, timeout=120)
        assert result.code == 0, result.output
        assert list(filter(result.changed.get, result.changed)) == [lab.manager], result.output
        lab.ssh(lab.manager, f"cmp {marker} {marker}.away")
    finally:
        lab.ssh(lab.manager, f"mv {marker}.away {marker}")
