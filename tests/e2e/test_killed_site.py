"""site.yml is killed on a day on which it has everything to do, while somebody works."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import TokenSession

from .conftest import Lab, bring_bare, carry_out, run_playbook
from .kills import SEEDS, Whole, kill_and_mend, run_whole

SITE = "site.yml"
# Done by hand on each host; with a host that is bare, every role has something to do, and none of it ends a notebook.
EVERYWHERE = """
echo '# by hand' >> /etc/swarmhub/firewall.v4
echo '# by hand' >> /etc/needrestart/conf.d/swarmhub.conf
iptables --wait -F SWARMHUB-INPUT
sysctl -q -w net.ipv4.tcp_keepalive_time=7200
"""
ON_HOSTS = {
    # Server of the database and of images, and of the hub that is to be made anew.
    "mgr1": """
rm -f /etc/swarmhub/secrets/api_token
echo '# by hand' >> /etc/swarmhub/pg_hba.conf
echo '# by hand' >> /etc/docker/registry/config.yml
rm /usr/local/sbin/swarmhub-backup
systemctl disable --now --quiet swarmhub-backup.timer
docker swarm update --dispatcher-heartbeat 9s
docker service rm swarmhub_hub
docker config ls --quiet --filter name=swarmhub_hub | xargs docker config rm
docker service update --quiet --detach --env-add BY_HAND=1 --limit-memory 400M swarmhub_proxy
docker node update --label-rm calculation_type gpu2
""",
    # Where the notebook is.
    "cpu1": r"printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d",
    "gpu1": """
sed -i 's/10m/11m/' /etc/docker/daemon.json
apt-get remove --yes --quiet=2 --allow-change-held-packages nvidia-container-toolkit
""",
    "gpu2": """
apt-mark unhold docker.io
systemctl disable --now --quiet docker.service docker.socket
""",
}


def spoil(lab: Lab) -> None:
    """Give site.yml everything to do that it does day by day."""
    bring_bare(lab)
    for host, commands in ON_HOSTS.items():
        lab.ssh(host, f"set -e; {EVERYWHERE}{commands}", timeout=120)


@pytest.fixture(scope="module")
def whole(lab: Lab, notebook: TokenSession) -> t.Iterator[Whole]:
    """A run that nobody killed; afterwards the spare host is away again."""
    try:
        spoil(lab)
        yield run_whole(SITE)
    finally:
        carry_out(lab)


@pytest.mark.long
@SEEDS
def test_a_killed_site_yml_is_mended_by_the_next(lab: Lab, notebook: TokenSession, whole: Whole, seed: int) -> None:
    container = lab.containers(*lab.services(notebook.name))
    with Kernel(notebook, 60) as kernel:
        kernel.run("kept = 42")
        spoil(lab)
        kill_and_mend(seed, whole, SITE)
        again = run_playbook(SITE)
        assert (again.code, set(again.changed.values())) == (0, {0}), again.output
        lab.ssh("cpu1", "test ! -e /usr/sbin/policy-rc.d")
        kernel.open()
        assert kernel.run("print(kept)") == "42\n"
    assert lab.containers(*lab.services(notebook.name)) == container
