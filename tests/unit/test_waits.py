"""What must wait while notebooks run on a host, or for a reboot."""

from __future__ import annotations

import hashlib
import typing as t

import pytest
from ansible.module_utils.swarmhub.waits import compare, differing, pending

DAEMON = "/etc/docker/daemon.json"
TOOLKIT = "nvidia-container-toolkit=1.20.0-1"
OWNED: dict[str, t.Any] = {
    "host": {
        "packages": ["nftables", TOOLKIT],
        "sysctls": {"a.b": 1},
        "when_idle": ["nvidia-container-toolkit"],
    },
    "docker_engine": {
        "files": [{"path": DAEMON, "content": "{}", "mode": "0644"}, {"path": "/other", "content": "", "mode": "0644"}],
        "units": [{"name": "docker.service", "after": [DAEMON]}],
        "when_idle": [DAEMON, "docker.service"],
    },
}


def state(notebooks: int = 0, **found: t.Any) -> dict[str, t.Any]:
    """Return a host on which everything differs."""
    file = {"owner": "root", "group": "root", "mode": "0644", "mtime": 9.0, "sha256": "other"}
    return {
        "packages": {"nvidia-container-toolkit": {"version": "1.19.0-1", "held": True}},
        "files": {DAEMON: file, "/other": file},
        "units": {"docker.service": {"enabled": False, "active": True, "since": 1.0}},
        "sysctls": {"a.b": "0"},
        "time": 100.0,
        "engine": {"notebooks": notebooks},
        **found,
    }


def judge(
    found: dict[str, t.Any], *, disturb: bool = False, reboot: bool = False, reasons: t.Sequence[str] = ()
) -> tuple[set[str], list[str]]:
    """Return the names that are settled now, and the lines of what waits."""
    owned = {**OWNED, "gpu": {"reboot": list(reasons)}}
    result = compare(owned, found, {"disturb": disturb, "drain": False, "reboot": reboot})
    now = {name for kinds in result["now"].values() for entries in kinds.values() for name in entries}
    assert all(any(kinds.values()) for kinds in result["now"].values()), "a role without anything to do is left out"
    return now, pending(["gpu1"], {"gpu1": {"node_compared": result}})


ALWAYS = {"nftables", "a.b", "/other"}
DISTURBING = {TOOLKIT, DAEMON, "docker.service"}


def test_an_idle_host_waits_for_nothing() -> None:
    assert judge(state()) == (ALWAYS | DISTURBING, [])
    assert judge(state(engine=None)) == (ALWAYS | DISTURBING, [])


def test_what_disturbs_notebooks_waits_for_them_and_nothing_else_does() -> None:
    # The unit is still enabled; only its restart waits.
    now, waits = judge(state(notebooks=2))
    assert now == {*ALWAYS, "docker.service"}
    assert waits == [
        f"gpu1 — host: {TOOLKIT} instead of 1.19.0-1; docker_engine: {DAEMON} content differs; docker_engine: "
        f"docker.service runs with an older {DAEMON}; 2 notebooks run there: run again when none does, or with "
        "-e docker_engine_restart=drain, which empties it first"
    ]


def test_an_engine_that_does_not_answer_may_have_notebooks() -> None:
    silent = state(engine=None, engine_fault="timed out")
    now, (line,) = judge(silent, reboot=True, reasons=["the driver is not loaded"])
    assert now == {*ALWAYS, "docker.service"}
    assert "its engine does not answer" in line
    assert "the driver is not loaded" in line


def test_a_package_waits_whichever_of_both_sides_names_a_version() -> None:
    packages = ["nvidia-driver=550.163.01-2", "libcuda1"]
    for when_idle in (packages, ["nvidia-driver", "libcuda1=550"]):
        owned = {"host": {"packages": packages, "when_idle": when_idle}}
        result = compare(owned, state(notebooks=1), {"disturb": False, "drain": False, "reboot": False})
        assert result["now"] == {}


def test_asked_to_disturb_nothing_waits() -> None:
    assert judge(state(notebooks=2), disturb=True) == (ALWAYS | DISTURBING, [])


@pytest.mark.parametrize(("reboot", "notebooks", "now"), [(False, 0, False), (True, 0, True), (True, 1, False)])
def test_a_reboot_is_taken_only_where_it_is_allowed_and_no_notebook_runs(
    reboot: bool, notebooks: int, now: bool
) -> None:
    settled, waits = judge(state(notebooks), reboot=reboot, disturb=True, reasons=["the driver is not loaded"])
    assert ("the driver is not loaded" in settled) == now
    assert any("the driver is not loaded" in line for line in waits) != now


def test_what_a_pending_reboot_says() -> None:
    quiet = {**state(), "files": {DAEMON: None, "/other": None}, "units": {"docker.service": {}}}
    _, (line,) = judge(quiet, reasons=["the driver is not loaded"])
    assert line == ("gpu1 — gpu: the driver is not loaded; reboot it and run again, or run with -e gpu_reboot=true")


def test_the_engine_keeps_the_cards_that_a_reboot_brings_back() -> None:
    now, _ = judge(state(), reasons=["x"])
    assert now == {*ALWAYS, TOOLKIT, "docker.service"}
    assert DAEMON in judge(state(files={DAEMON: None, "/other": None}), reasons=["x"])[0]


@pytest.mark.parametrize(
    ("found", "reasons", "waits"),
    [
        (state(), [], False),
        (state(notebooks=1), [], True),
        (state(), ["the driver is not loaded"], True),
        (state(cards=[{"uuid": "GPU-1"}]), ["card GPU-2 does not answer"], False),
    ],
)
def test_an_engine_waits_only_with_its_own_settings(found: dict[str, t.Any], reasons: list[str], waits: bool) -> None:
    owned = {**OWNED, "gpu": {"reboot": reasons}}
    assert compare(owned, found, {"disturb": False, "drain": False, "reboot": False})["engine_waits"] is waits


WORKER = {"state": "active"}
MANAGER = {"state": "active", "control_available": True}


def turn(found: dict[str, t.Any], *, drain: bool = False, reboot: bool = False, reasons: t.Sequence[str] = ()) -> str:
    owned = {**OWNED, "gpu": {"reboot": list(reasons)}}
    return str(compare(owned, found, {"disturb": False, "drain": drain, "reboot": reboot})["turn"])


def test_nodes_with_notebooks_are_drained_one_after_the_other_when_that_is_asked_for() -> None:
    assert turn(state(notebooks=1, swarm=WORKER), drain=True) == "drain"
    assert turn(state(notebooks=1, swarm=WORKER)) == ""
    assert turn(state(notebooks=0, swarm=WORKER), drain=True) == "drain"
    assert turn(state(notebooks=0, swarm=WORKER)) == ""
    assert turn(state(notebooks=1, swarm={"state": "inactive"}), drain=True) == ""


def test_managers_restart_in_turn_even_where_no_notebook_runs() -> None:
    assert turn(state(swarm=MANAGER)) == "restart"
    assert turn(state(notebooks=1, swarm=MANAGER), drain=True) == "drain"
    right = {name: {"version": "1.20.0-1", "held": True} for name in ("nftables", "nvidia-container-toolkit")}
    quiet = state(swarm=MANAGER, units={"docker.service": {"active": True, "since": 99.0}}, packages=right)
    quiet["files"] = {**quiet["files"], DAEMON: {**quiet["files"][DAEMON], "sha256": hashlib.sha256(b"{}").hexdigest()}}
    assert turn(quiet) == ""
    assert turn(quiet, reasons=["x"]) == ""
    assert turn(quiet, reasons=["x"], reboot=True) == "restart"
    # A driver's or toolkit's installation may show cards, for which the engine restarts, or end in a reboot.
    assert turn({**quiet, "packages": {}}) == "restart"
    other = {**right, "nvidia-container-toolkit": {"version": "1.19.0-1", "held": True}}
    assert turn({**quiet, "packages": other}) == "restart"
    assert turn({**quiet, "packages": {"nvidia-container-toolkit": right["nvidia-container-toolkit"]}}) == ""


def test_what_differs_is_told_by_host() -> None:
    idle = compare(OWNED, state(), {"disturb": False, "drain": False, "reboot": False})
    right = compare({}, state(), {"disturb": False, "drain": False, "reboot": False})
    told = differing(["b", "a"], {"a": {"node_compared": right}, "b": {"node_compared": idle}})
    assert "b — host: nftables not installed" in told
    assert {line.partition(" ")[0] for line in told} == {"b"}
