"""Nodes get newer engines while people work on the cluster."""

from __future__ import annotations

import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible.module_utils.swarmhub.probe_session import TokenSession

from .cards import pending
from .conftest import Lab, PlayResult, run_playbook
from .kills import SEEDS, Whole, kill_and_mend, run_whole
from .outage import HUB_SECONDS, hub_answers, lost, people_on, places, seconds_until

UPGRADE = "playbooks/upgrade_node.yml"
CONFIRMED = ("-e", "confirm=yes")
AT_ONCE = ("-e", "drain_idle=1", "-e", "drain_wait=5")
PACKAGES = ("docker.io", "containerd", "runc")
MARK = "swarmhub.drained_from"
# The packages that are installed, as packages that are older by their names.
OLDER = """
set -eu
rm -rf /var/tmp/older; mkdir /var/tmp/older; cd /var/tmp/older
apt-get -qq update; apt-get -qq download {packages}
for deb in *.deb; do
  dpkg-deb -R "$deb" tree
  sed -i 's/^Version: .*/&~lab/' tree/DEBIAN/control
  dpkg-deb -Znone -b tree "older-$deb"
  rm -r tree
done
dpkg --force-downgrade --force-hold -i older-*.deb
apt-mark hold {packages}
systemctl restart containerd docker
rm -r /var/tmp/older
"""


def make_older(lab: Lab, host: str, *packages: str) -> None:
    """Put a host's packages, of which no notebook may be in need, one version back."""
    lab.ssh(host, OLDER.format(packages=" ".join(packages)), timeout=120)


def older(lab: Lab, host: str) -> list[str]:
    """The packages of the engine that are not of the newest version, or not held."""
    form = "'${Package} ${Version} ${db:Status-Want}\\n'"
    rows = lab.ssh(host, f"dpkg-query --showformat {form} --show {' '.join(PACKAGES)}").splitlines()
    return [row for row in rows if "~lab" in row or not row.endswith(" hold")]


def spec(lab: Lab, host: str) -> dict[str, t.Any]:
    (node,) = lab.inspect("node", host)
    return t.cast("dict[str, t.Any]", node["Spec"])


def upgrade(*nodes: str) -> PlayResult:
    result = run_playbook(UPGRADE, "-e", f"node={','.join(nodes)}", *CONFIRMED, *AT_ONCE, timeout=600)
    assert result.code == 0, result.output
    return result


@pytest.fixture
def people(lab: Lab, pool: ThreadPoolExecutor) -> t.Iterator[dict[str, TokenSession]]:
    """A user with an idle kernel on gpu1 and one with a busy kernel on gpu2; both hosts have older engines."""
    for host, packages in (("gpu1", PACKAGES), ("gpu2", ("runc",))):
        make_older(lab, host, *packages)
    hosts = {"upgrade-gpu1": "gpu1", "upgrade-gpu2": "gpu2"}
    with people_on(lab, pool, hosts, busy=["upgrade-gpu2"]) as sessions:
        yield {hosts[user]: session for user, session in sessions.items()}


@pytest.mark.long
def test_nodes_are_upgraded_one_after_the_other_and_who_is_busy_is_left_alone(
    lab: Lab, notebook: TokenSession, people: dict[str, TokenSession]
) -> None:
    unconfirmed = run_playbook(UPGRADE, "-e", "node=gpu1,gpu2")
    assert unconfirmed.code != 0
    assert "Nothing was changed: type gpu1, or run with -e confirm=yes" in unconfirmed.output
    before = places(lab, [notebook, people["gpu2"]])

    result = upgrade("gpu1", "gpu2")

    assert set(result.stats) == {"gpu1", "gpu2", lab.manager}
    assert "Your notebook runs on gpu1, which goes out of service" in " ".join(result.output.split())
    assert people["gpu1"].server() is None
    assert older(lab, "gpu1") == []
    assert set(pending(result.output)) == {"gpu2"}
    assert "runc" in pending(result.output)["gpu2"]
    assert lost(before, places(lab, [notebook, people["gpu2"]])) == []
    print(f"upgrade_node.yml: gpu1 upgraded and gpu2 left to who is busy there, in {result.seconds:.0f} s")

    people["gpu2"].stop()
    second = upgrade("gpu1", "gpu2")
    assert (second.changed["gpu1"], older(lab, "gpu2"), pending(second.output)) == (0, [], {})
    for host in ("gpu1", "gpu2"):
        assert spec(lab, host)["Availability"] == "active"
        assert MARK not in spec(lab, host)["Labels"]
    assert lost({notebook.name: before[notebook.name]}, places(lab, [notebook])) == []
    assert notebook.request("GET", "hub/api/announcements").json() == []
    print(f"gpu2 was upgraded in {second.seconds:.0f} s")


@pytest.mark.long
def test_the_only_manager_is_upgraded_under_notebooks(
    lab: Lab, notebook: TokenSession, pool: ThreadPoolExecutor
) -> None:
    before = places(lab, [notebook])
    make_older(lab, lab.manager, *PACKAGES)
    seconds_until(lambda: hub_answers(lab), "the hub's return from the restart before", 120)
    notebook.wait_until_ready()
    running, away = pool.submit(upgrade, lab.manager), 0.0
    while not running.done():
        looked = time.monotonic()
        answers = hub_answers(lab)
        time.sleep(0.2)
        away += 0 if answers else time.monotonic() - looked
    result = running.result()
    assert set(result.stats) == {lab.manager}
    assert older(lab, lab.manager) == []
    assert hub_answers(lab)
    notebook.wait_until_ready()
    assert lost(before, places(lab, [notebook])) == []
    print(
        f"{lab.manager}, alone with hub and proxy, was upgraded in {result.seconds:.0f} s; its pages were away for "
        f"{away:.0f} s; notebooks lost: 0"
    )
    assert 0 < away < HUB_SECONDS
    again = run_playbook("site.yml")
    assert (again.code, set(again.changed.values())) == (0, {0}), again.output


@pytest.fixture(scope="module")
def whole(lab: Lab) -> Whole:
    """What an upgrade of gpu1 leaves that nobody kills."""
    make_older(lab, "gpu1", *PACKAGES)
    return run_whole(UPGRADE, "-e", "node=gpu1", *CONFIRMED)


@pytest.mark.long
@SEEDS
def test_a_killed_upgrade_is_mended_by_the_next(lab: Lab, whole: Whole, seed: int) -> None:
    make_older(lab, "gpu1", *PACKAGES)
    kill_and_mend(seed, whole, UPGRADE, "-e", "node=gpu1", *CONFIRMED)
    assert older(lab, "gpu1") == []
    again = run_playbook("site.yml")
    assert (again.code, set(again.changed.values())) == (0, {0}), again.output
