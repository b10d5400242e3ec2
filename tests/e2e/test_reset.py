"""What playbooks/reset.yml takes away, and what it leaves; it runs on the lab of one machine, after everything else."""

from __future__ import annotations

import pytest

from .conftest import Lab, run_playbook

KEPT = "/srv/swarmhub/homes/e2e-reset/kept"


def test_reset_asks_before_it_takes_anything_away(lab: Lab) -> None:
    result = run_playbook("playbooks/reset.yml", "--extra-vars", "confirm=no")

    assert result.code != 0
    assert lab.services()


@pytest.fixture(scope="module")
def was_reset(lab: Lab) -> None:
    """The lab after a reset."""
    lab.ssh(lab.manager, f"mkdir -p $(dirname {KEPT}) && touch {KEPT}")
    result = run_playbook("playbooks/reset.yml", "--extra-vars", "confirm=yes")
    assert result.code == 0, result.output


@pytest.mark.usefixtures("was_reset")
def test_reset_leaves_the_homes_and_nothing_of_ours(lab: Lab) -> None:
    assert lab.docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"
    assert lab.docker("ps", "--quiet") == ""
    ours = (
        "swarmhub docker/daemon.json docker/certs.d/* systemd/system/swarmhub* sysctl.d/*swarmhub* prometheus/swarmhub*"
    )
    left = f"cd /etc && ls -d {ours} 2>/dev/null"
    assert lab.ssh(lab.manager, left, check=False) == ""
    assert lab.ssh(lab.manager, "systemctl list-units --no-legend --state=active 'prometheus*'") == ""
    assert "SWARMHUB" not in lab.ssh(lab.manager, "iptables -S && ip6tables -S")
    assert lab.ssh(lab.manager, "apt-mark showhold") == ""
    databases = lab.ssh(lab.manager, "runuser -u postgres -- psql -XAtc 'SELECT datname FROM pg_database'")
    assert "jupyterhub" not in databases
    lab.ssh(lab.manager, f"test -e {KEPT}")


@pytest.mark.usefixtures("was_reset")
def test_a_second_reset_finds_nothing_to_do(lab: Lab) -> None:
    result = run_playbook("playbooks/reset.yml", "--extra-vars", "confirm=yes")

    assert result.code == 0, result.output
    assert result.changed == dict.fromkeys(lab.variables, 0), result.output


@pytest.mark.usefixtures("was_reset")
def test_site_yml_builds_the_cluster_again(lab: Lab) -> None:
    result = run_playbook("site.yml", timeout=600)

    assert result.code == 0, result.output
    assert lab.services()
