"""What site.yml costs, beside pyinfra, ordinary Ansible and its floor; with 4, 8, 16 and 40 hosts.

python -m bench.run [PART…]     first, 4, 8, 16, 40, floor; without a PART all of them, on a lab of its own

Those that compete take turns on the same hosts, with the same state wanted; after a run of each that does not count,
the medians of three do. Every run makes its own connections, but for "connected": ours soon after another one.
bench/result.json keeps the figures of all parts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import typing as t
from collections.abc import Sequence
from pathlib import Path

from labkit.state import State

from bench import desired, first_run
from bench.contenders import ANSIBLE, Contender, ours, plain, pyinfra
from bench.measure import Run, figures, measure
from tests.e2e.conftest import SPARE, Lab, bring_bare, carry_out

RESULT = Path(__file__).parent / "result.json"
ROUNDS = 3
ADD_ROUNDS = 3
OWN = 4  # hosts of the lab without light ones
MANY = 40
SIZES = (OWN, 8, 16, MANY)
OTHERS = {8: (pyinfra, plain), MANY: (pyinfra,)}  # plain takes minutes
PARTS = ("first", *map(str, SIZES), "floor")
ADDED_AT_ONCE = 12
GROW_TIMEOUT = 1800
Figures = dict[str, t.Any]


def say(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)


def light(size: int) -> list[str]:
    """The names of the light hosts of a lab of this size."""
    return [f"light{index:02}" for index in range(1, size - OWN + 1)]


def resize(size: int) -> None:
    """Bring the cluster to this many hosts."""
    there = [host for host in State.load().spares if host.startswith("light")]
    if gone := sorted(set(there) - set(light(size))):
        lab = Lab()
        names = [part for host in gone for part in ("--filter", f"name={host}")]
        nodes = lab.docker("node", "ls", "--quiet", *names).split()
        first_run.lab("remove", *gone)
        if nodes:
            lab.docker("node", "rm", "--force", *nodes)
    if new := sorted(set(light(size)) - set(there)):
        # More at once would take the cores from each other until one is given up.
        for begin in range(0, len(new), ADDED_AT_ONCE):
            first_run.lab("add", *new[begin : begin + ADDED_AT_ONCE])
        run = ours().run(timeout=GROW_TIMEOUT)
        say(f"{len(new)} hosts more: {run.seconds:.0f} s")


def take_turns(contenders: Sequence[Contender]) -> Figures:
    """Let each run once, and then three times in turns, in which nothing may change; return the figures of each."""
    for contender in contenders:
        contender.run()
    counted: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for _ in range(ROUNDS):
        for contender in contenders:
            run = contender.run()
            assert not contender.changed(run), f"{contender.name} changed something:\n{run.output}"
            counted[contender.name].append(run)
    found = {name: figures(runs) for name, runs in counted.items()}
    for name, each in found.items():
        say(f"  {name:<8}{each['seconds']:8.1f} s   {each['control_mib']:5} + {each['children_mib']} MiB")
    return found


def add_node() -> Figures:
    """Bring the spare host in, bare, by add_node.yml, some times; return the figures."""
    runs = []
    lab = Lab()
    try:
        for _ in range(ADD_ROUNDS):
            bring_bare(lab)
            command = (*ANSIBLE, "playbooks/add_node.yml", "--extra-vars", f"node={SPARE}")
            runs.append(measure(command))
    finally:
        carry_out(lab)
    say(f"  add_node.yml: {', '.join(f'{run.seconds:.0f} s' for run in runs)}")
    return figures(runs)


def of_size(size: int, folder: Path) -> Figures:
    """The figures of a cluster with this many hosts."""
    say(f"{size} hosts")
    resize(size)
    found: Figures = {"add_node": add_node()} if size in (OWN, MANY) else {}
    contenders = [ours()]
    if others := OTHERS.get(size):
        wanted = desired.write(folder / "desired")
        contenders += [other(wanted) for other in others]
    found |= take_turns(contenders)
    found["check_mode"] = figures([ours("--check").run() for _ in range(ROUNDS)])
    found["connected"] = figures([ours().run(connected=True) for _ in range(ROUNDS)])
    return found


def ratios(found: Figures) -> dict[str, float]:
    """What the figures say in short, as far as they are known: our seconds by those of others."""

    def at(*keys: str) -> float:
        value: t.Any = found
        for key in keys:
            value = value[key]
        return t.cast("float", value)

    def second(size: int, name: str = "ours") -> float:
        return at(str(size), name, "seconds")

    wanted: dict[str, t.Callable[[], float]] = {
        "second_run_vs_pyinfra": lambda: second(8) / second(8, "pyinfra"),
        "second_run_vs_plain": lambda: second(8) / second(8, "plain"),
        "second_run_40_vs_pyinfra": lambda: second(MANY) / second(MANY, "pyinfra"),
        "seconds_per_host": lambda: (second(MANY) - second(8)) / (MANY - 8),
        "add_node_40_vs_4": lambda: at(str(MANY), "add_node", "seconds") / at(str(OWN), "add_node", "seconds"),
        "first_run_vs_floor": lambda: at("first", "seconds") / at("floor", "seconds"),
    }
    known = {}
    for name, value in wanted.items():
        with contextlib.suppress(KeyError):  # of a part that has not been measured
            known[name] = round(value(), 3)
    return known


def show(result: Figures) -> None:
    """Print the table."""
    say(f"\n{'seconds':<24}" + "".join(f"{size:>8}" for size in SIZES))
    for name in ("ours", "connected", "check_mode", "pyinfra", "plain"):
        cells = (result["figures"].get(str(size), {}).get(name, {}).get("seconds", "") for size in SIZES)
        say(f"{name:<24}" + "".join(f"{cell:>8}" for cell in cells))
    for name, value in result.items():
        if name != "figures":
            say(f"{name:<28}{value:8}")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="What site.yml costs.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parts = parser.parse_args().parts or list(PARTS)
    assert set(parts) <= set(PARTS), f"parts are {', '.join(PARTS)}"
    assert "first" not in parts or not State.load().layout, (
        "a lab is up: run `make lab-down` first, or name other parts"
    )
    known = json.loads(RESULT.read_text())["figures"] if RESULT.exists() else {}
    with tempfile.TemporaryDirectory(prefix="swarmhub-bench-") as work:
        folder = Path(work)
        for part in sorted(parts, key=PARTS.index):
            if part == "first":
                known[part] = figures([first_run.first_run()])
            elif part == "floor":
                resize(OWN)
                wanted = desired.write(folder / "desired")
                first_run.keep_registry(
                    json.loads((wanted / "cluster.json").read_text())["manager"], folder / "registry"
                )
                known[part] = {"seconds": round(first_run.floor(wanted, folder / "registry"), 1)}
                first_run.lab("down")
            else:
                known[part] = of_size(int(part), folder)
            result = {**ratios(known), "cores": os.cpu_count(), "figures": known}
            RESULT.write_text(json.dumps(result, indent=1) + "\n")
    if State.load().layout:
        resize(OWN)
    show(result)


if __name__ == "__main__":
    main()
