"""What follows from a host's distribution, which is known only once it was looked at."""

from __future__ import annotations

import fnmatch
import typing as t

import pytest
from rendering import render

OWNED = "{'docker_engine': docker_engine_owned, 'postgres': postgres_owned, 'all': {'packages': PACKAGES}}"
NAMES = "{{ OWNED | swarmhub_names }}".replace("OWNED", OWNED).replace(
    "PACKAGES", "docker_engine_packages + postgres_packages"
)
HOSTS = {
    "trixie": {"id": "debian", "version": "13"},
    "bookworm": {"id": "debian", "version": "12"},
    "noble": {"id": "ubuntu", "version": "24.04"},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, t.Any]:
    """Return what is asked of a host before and after its distribution is known."""
    hosts = {name: {"seen": {"distribution": found}} for name, found in HOSTS.items()}
    facts: list[t.Any] = [{"node_state": {}}, {"asked": NAMES}, {"node_state": "{{ seen }}"}]
    shown = {"asked": "{{ asked }}", "needed": NAMES, "engine": "{{ docker_engine_packages }}"}
    inventory = {"all": {"hosts": hosts, "vars": {"postgres_password": "x"}}}
    roles = ["docker_engine", "postgres"]
    return render(tmp_path_factory.mktemp("distributions"), inventory, roles, shown, facts)


def test_the_engines_command_line_is_a_package_of_debian_13_alone(rendered: dict[str, t.Any]) -> None:
    assert {name for name in HOSTS if "docker-cli" in rendered[name]["engine"]} == {"trixie"}


@pytest.mark.parametrize("name", HOSTS)
def test_what_is_compared_was_asked_for_before_the_distribution_was_known(
    rendered: dict[str, t.Any], name: str
) -> None:
    asked, needed = rendered[name]["asked"], rendered[name]["needed"]
    for kind, names in needed.items():
        unasked = [each for each in names if not any(fnmatch.fnmatch(each, pattern) for pattern in asked[kind])]
        assert unasked == [], f"{kind} of {name}"
