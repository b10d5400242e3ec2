"""The command on the lab that is up, as somebody at a terminal or a script runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest
from playwright.sync_api import Page

from .cards import CARDS
from .conftest import (
    INVENTORY,
    ROOT,
    SPARE,
    Lab,
    carry_out,
    edit_hosts,
    lab_command,
    run_playbook,
    screenshot,
    secrets_seen_in,
)

COMMAND = [sys.executable, "-c", "from swarmhub.cli import app; app()"]
ENVIRONMENT = {**os.environ, "ANSIBLE_INVENTORY": str(INVENTORY), "COLUMNS": "160"}
RUNS = ROOT / ".swarmhub" / "runs"
SPOILT = "/etc/needrestart/conf.d/swarmhub.conf"
WORKER = "cpu1"


@dataclass(frozen=True)
class Done:
    """How a command ended: exit code, what it printed, and seconds."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> t.Any:
        """The last line, or the only one."""
        return json.loads(self.out.splitlines()[-1])


def start(*arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    )


def swarmhub(*arguments: str, timeout: float = 300) -> Done:
    """Run a command without a terminal; nothing that it prints is a secret."""
    begun = time.monotonic()
    out, err = (process := start(*arguments)).communicate(timeout=timeout)
    assert secrets_seen_in(out + err) == []
    return Done(process.returncode, out, err, time.monotonic() - begun)


def well(*arguments: str, timeout: float = 300) -> Done:
    done = swarmhub(*arguments, timeout=timeout)
    assert done.code == 0, done.out + done.err
    return done


def wait_for_task(process: subprocess.Popen[str], since: float) -> None:
    """Wait until a run that began after ``since`` is at a task on a host."""
    while not any(
        '"kind": "start"' in path.read_text()
        for path in RUNS.glob("*/events.jsonl")
        if path.parent.stat().st_mtime >= since
    ):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


@pytest.fixture
def spoilt(lab: Lab) -> t.Iterator[None]:
    """A file on a worker that somebody has edited."""
    lab.ssh(WORKER, f"echo '# by hand' >> {SPOILT}")
    yield
    lab.ssh(WORKER, f"sed -i '/by hand/d' {SPOILT}")


def test_status_answers_at_once_and_knows_the_cluster(lab: Lab) -> None:
    looks = [well("status", "--json") for _ in range(3)]
    found = looks[-1].json
    members = {host for group in ("managers", "cpu_workers", "gpu_workers") for host in lab.inventory[group]["hosts"]}
    assert [node["state"] for node in found["nodes"]] == ["ready"] * len(members)
    assert {node["hostname"]: len(node["cards"]) for node in found["nodes"] if node["cards"]} == CARDS
    assert found["manager"] == lab.manager
    assert found["cards"]["total"] == sum(CARDS.values())
    services = {each["name"]: (each["wanted"], each["running"], each["why"]) for each in found["services"]}
    assert services["swarmhub_hub"] == services["swarmhub_proxy"] == (1, 1, "")
    text = well("status")
    assert f"asked {lab.manager} · 1 of 1 managers" in text.out
    print(f"status: {', '.join(f'{look.seconds:.2f}' for look in (*looks, text))} s")
    assert min(look.seconds for look in looks) < 2


def test_status_is_watched_until_ctrl_c() -> None:
    process = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "status", "--watch"], cwd=ROOT, env=ENVIRONMENT, timeout=20)
    for _ in range(2):
        process.expect("swarmhub_hub")
    process.sendintr()
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 0


def test_check_finds_nothing_wrong_here_and_says_the_cure_elsewhere(copied_inventory: Path) -> None:
    found = swarmhub("check", "--json")
    assert found.code == 0, found.out + found.err
    assert [each for each in found.json if each["severity"] == "error"] == []
    edit_hosts(copied_inventory, lambda everything: everything["hosts"][WORKER].update(ansible_host="198.51.100.9"))
    wrong = swarmhub("check", "--json", "-i", str(copied_inventory))
    assert wrong.code == 2
    errors = [each for each in wrong.json if each["severity"] == "error"]
    assert {each["host"] for each in errors} == {WORKER}
    assert all(each["cure"] for each in errors)
    assert WORKER in swarmhub("check", "-i", str(copied_inventory)).out


def test_init_writes_an_inventory_that_ansible_reads(lab: Lab, tmp_path: Path) -> None:
    address = {host: known["ansible_host"] for host, known in lab.variables.items()}
    hosts = ("--managers", f"mgr1={address['mgr1']}", "--gpu-workers", f"gpu1={address['gpu1']},gpu2={address['gpu2']}")
    well("init", "--user", "ops", *hosts, "-i", str(tmp_path / "mine"))
    listed = subprocess.run(
        [sys.executable, "-m", "ansible", "inventory", "-i", str(tmp_path / "mine"), "--list"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(listed.stdout)["gpu_workers"]["hosts"] == ["gpu1", "gpu2"]
    assert swarmhub("init", "--user", "ops", *hosts, "-i", str(tmp_path / "mine")).code == 2


def test_apply_with_nothing_to_do_costs_a_second_at_most() -> None:
    bare, ours = [], []
    for _ in range(2):
        result = run_playbook("site.yml")
        assert (result.code, set(result.changed.values())) == (0, {0}), result.output
        bare.append(result.seconds)
        done = well("apply")
        assert "nothing to change" in done.out
        ours.append(done.seconds)
    print(f"nothing to change: site.yml {min(bare):.1f} s, swarmhub apply {min(ours):.1f} s")
    assert min(ours) - min(bare) < 1


def test_a_run_that_fails_says_why_and_what_to_do(lab: Lab) -> None:
    done = swarmhub("apply", "-e", "swarm_network_mode=fast")
    assert done.code == 1
    assert "swarm_network_mode" in done.out
    assert "→ mend what it says" in done.out
    assert "{" not in done.out
    kept = well("runs", "show", "--json").json
    assert (kept["outcome"], kept["command"]) == ("failed", "apply -e swarm_network_mode=…")
    assert kept["changes"] == []


@pytest.mark.usefixtures("spoilt")
def test_a_plan_tells_ctrl_c_stops_and_the_next_apply_mends(lab: Lab) -> None:
    plan = well("apply", "--plan")
    assert plan.out.index(WORKER) < plan.out.index(SPOILT)
    assert "--yes" in plan.err
    assert "by hand" in lab.ssh(WORKER, f"cat {SPOILT}")

    since = time.time()
    process = start("apply")
    wait_for_task(process, since)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, out + err
    assert "Changed by then: " in out
    assert "by hand" in lab.ssh(WORKER, f"cat {SPOILT}")

    done = well("apply", "--json").json
    assert {change["host"] for change in done["changes"]} == {WORKER}
    assert [line for line in done["differences"] if WORKER in line and SPOILT in line]
    assert "by hand" not in lab.ssh(WORKER, f"cat {SPOILT}")


def test_verify_holds_the_cluster_and_another_machines_run_is_refused(lab: Lab, copied_inventory: Path) -> None:
    since = time.time()
    first = start("verify")
    wait_for_task(first, since)
    # Another folder has another file to lock, as another machine has.
    second = swarmhub("apply", "-i", str(copied_inventory))
    assert second.code == 3, second.out + second.err
    assert f"runs `swarmhub verify` on {lab.manager}" in second.out
    assert f"(pid {first.pid})" in second.out
    assert swarmhub("apply").code == 3
    out, err = first.communicate(timeout=300)
    assert first.returncode == 0, out + err
    well("apply", "-i", str(copied_inventory))


def test_runs_are_listed_and_compared() -> None:
    listed = well("runs", "list", "--json").json
    assert {"well", "failed", "interrupted", "locked"} <= {run["outcome"] for run in listed}
    assert not (ROOT / ".swarmhub" / "work").exists() or not list((ROOT / ".swarmhub" / "work").iterdir())
    ids = [run["id"] for run in listed if (run["playbook"], run["outcome"]) == ("site.yml", "well")]
    assert ids[0] in well("runs", "list").out
    shown = well("runs", "show", ids[0]).out
    assert "Look at every host once" in shown
    compared = well("runs", "diff", ids[1], ids[0], "--json").json
    assert [play for play in compared["plays"] if all(play["seconds"])]
    assert swarmhub("runs", "show", "no-such-run").code == 2


def test_no_record_holds_a_secret() -> None:
    files = [path for path in RUNS.rglob("*") if path.is_file()]
    assert files
    assert {str(path): seen for path in files if (seen := secrets_seen_in(path.read_text()))} == {}


def test_the_report_is_fit_to_be_seen(page: Page, tmp_path: Path) -> None:
    runs = well("runs", "list", "--json").json
    for outcome in ("well", "failed"):
        newest = next(run["id"] for run in runs if (run["playbook"], run["outcome"]) == ("site.yml", outcome))
        path = tmp_path / f"{outcome}.html"
        well("runs", "report", newest, "--output", str(path))
        for scheme, width in (("light", 1400), ("light", 400), ("dark", 1400), ("dark", 400)):
            page.emulate_media(color_scheme=t.cast("t.Literal['light', 'dark']", scheme))
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(path.as_uri())
            assert page.locator("h1").inner_text().endswith(outcome)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=screenshot(f"command_report_{outcome}_{scheme}_{width}"), full_page=True)


def test_a_shell_on_a_host_whose_sudo_asks_for_a_password() -> None:
    process = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "lab", "shell", "gpu2"], cwd=ROOT, env=ENVIRONMENT, timeout=30)
    process.expect(r"root@.*# ")
    process.sendline("echo on $(hostname); exit")
    process.expect("on gpu2")
    process.expect(pexpect.EOF)
    assert swarmhub("lab", "shell", "gpu9").code == 2


# --- what takes longer -----------------------------------------------------------------------------------------------


@pytest.fixture
def spare(lab: Lab, copied_inventory: Path) -> t.Iterator[tuple[str, Path]]:
    """The address of a bare host, and an inventory without it."""
    carry_out(lab)
    lab_command("add", SPARE)
    address = Lab().variables[SPARE]["ansible_host"]
    try:
        yield address, copied_inventory
    finally:
        carry_out(lab)


def availability(lab: Lab) -> str:
    nodes = well("status", "--json").json["nodes"]
    return t.cast(str, next((node["availability"] for node in nodes if node["hostname"] == SPARE), ""))


@pytest.mark.long
def test_a_node_comes_goes_out_of_service_comes_back_and_goes(lab: Lab, spare: tuple[str, Path]) -> None:
    address, inventory = spare
    before = (inventory / "hosts.yml").read_text().splitlines()
    here = ("-i", str(inventory))
    assert swarmhub("add-node", SPARE, *here).code == 1, "nobody knows its address"
    well("add-node", SPARE, "--address", address, "--gpu", *here, timeout=600)
    after = (inventory / "hosts.yml").read_text().splitlines()
    assert [line.strip() for line in after if line not in before] == [f"{SPARE}: {{ansible_host: {address}}}"]
    assert availability(lab) == "active"
    assert swarmhub("drain", SPARE, *here).code == 2, "there is nobody to ask"
    well("drain", SPARE, "--yes", *here)
    assert availability(lab) == "drain"
    well("add-node", SPARE, *here)
    assert availability(lab) == "active"
    well("remove-node", SPARE, "--yes", *here)
    assert availability(lab) == ""


@pytest.mark.long
def test_upgrade_backup_and_restore() -> None:
    well("upgrade", "--yes", timeout=600)
    well("backup")
    well("restore", "--yes", timeout=600)
    well("verify")


@pytest.mark.long
def test_lab_up_mends_a_lab_that_is_up() -> None:
    well("lab", "up", timeout=900)


@pytest.mark.long
def test_a_killed_command_leaves_the_cluster_free(lab: Lab) -> None:
    since = time.time()
    process = start("verify")
    wait_for_task(process, since)
    process.kill()
    process.communicate()
    well("apply")
    assert "killed" in well("runs", "list").out
