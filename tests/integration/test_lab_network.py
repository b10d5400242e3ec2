"""The network of hosts with kernels of their own: whole after a run that was killed at any moment; needs root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "molecule" / "shared"
COMMANDS = 9  # that make the network
# Killed before the command of this number, once more to the end, and taken away; in a network namespace of its own.
PROGRAM = """\
import os, signal, subprocess, sys
from pathlib import Path
from labkit import kernel_network as network, state

folder, name, moment, held = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "held"
state.CACHE, state.STATE_FILE = folder, folder / "state.json"
network.PREFIX, network.LINK = f"swarmhub-{name}", f"shk-{name}"
really, commands = network.output, 0

def output(command, **options):
    global commands
    commands += 1
    if commands > moment:
        os._exit(0)
    return really(command, **options)

if not os.fork():
    network.output = output
    network.make(state.State.load())
    os._exit(7)  # it was over before
print(os.waitstatus_to_exitcode(os.wait()[1]))
if held:  # a process that nobody knows of keeps the namespace
    lab = state.State.load()
    holder = subprocess.Popen([*network.inside(lab), "sleep", "60"])
    network.remove(lab)
lab = state.State.load()
network.make(lab)
really([*network.inside(lab), "ip", "tuntap", "add", "tap11", "mode", "tap"])  # as far as a killed run got
for number in (11, 12, 12):
    network.tap(lab, number)
members = really([*network.inside(lab), "ip", "-brief", "link", "show", "master", network.BRIDGE]).splitlines()
print(sorted(line.split()[0].partition("@")[0] for line in members))
print(really(["ip", "-4", "-brief", "address", "show", network.LINK]).split()[1:])
if held:
    holder.kill()
    holder.wait()
network.remove(lab)
print(network.succeeds(["ip", "link", "show", network.LINK]), Path("/run/netns", lab.namespace).exists())
"""


def mended(tmp_path: Path, moment: int, held: str = "") -> list[str]:
    """What the program prints."""
    own = ["unshare", "--net", "--mount", "--propagation", "private"]
    name = f"t{os.getpid()}"
    done = subprocess.run(
        [*own, sys.executable, "-c", PROGRAM, str(tmp_path), name, str(moment), held],
        env=os.environ | {"PYTHONPATH": str(SHARED)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("moment", range(COMMANDS + 1))
def test_a_killed_run_leaves_nothing_that_stays(tmp_path: Path, moment: int) -> None:
    ended, members, address, left = mended(tmp_path, moment)
    assert ended == ("7" if moment == COMMANDS else "0")
    assert members == "['machine', 'tap11', 'tap12']"
    assert address.startswith("['UP', '10.77.")
    assert left == "False False"


def test_a_forgotten_process_does_not_keep_the_link(tmp_path: Path) -> None:
    assert mended(tmp_path, COMMANDS, "held")[1:] == mended(tmp_path, COMMANDS)[1:]
