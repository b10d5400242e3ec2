"""What init and add-node write, with all comments in their places."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from command.conftest import ROOT
from swarmhub.errors import Refused
from swarmhub.hosts_file import add_host
from swarmhub.init import Answers, hosts, require_new, write

EXAMPLE = ROOT / "inventory" / "example"
SMALL = Answers("ops", [("mgr1", "10.9.0.11")], [("cpu1", "10.9.0.21")], [("gpu1", "10.9.1.31"), ("gpu2", "10.9.1.32")])


def groups(path: Path) -> dict[str, dict[str, object]]:
    return {name: each["hosts"] for name, each in yaml.safe_load(path.read_text())["all"]["children"].items()}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    write(EXAMPLE, tmp_path / "inventory", SMALL)
    return tmp_path / "inventory" / "hosts.yml"


def test_init_writes_the_hosts_and_keeps_what_explains_them(inventory: Path) -> None:
    found = groups(inventory)
    assert found["gpu_workers"] == {"gpu1": {"ansible_host": "10.9.1.31"}, "gpu2": {"ansible_host": "10.9.1.32"}}
    assert found["managers"] == {"mgr1": {"ansible_host": "10.9.0.11"}}
    assert found["postgres_server"] == {"mgr1": None}
    comments = {line for line in (EXAMPLE / "hosts.yml").read_text().splitlines() if line.strip().startswith("#")}
    assert comments == {line for line in inventory.read_text().splitlines() if line.strip().startswith("#")}
    text = inventory.read_text()
    assert text.index("# Exports the homes") < text.index("nfs_server:") < text.index("# Runs PostgreSQL")
    variables = yaml.safe_load((inventory.parent / "group_vars" / "all.yml").read_text())
    assert variables["cluster_cidrs"] == ["10.9.0.0/24", "10.9.1.0/24"]
    assert [each["display_name"] for each in variables["hub_profiles"]] == ["CPU", "GPU"]


def test_init_leaves_profiles_out_that_no_node_meets(tmp_path: Path) -> None:
    write(EXAMPLE, tmp_path, Answers("ops", [("m", "10.9.0.11")], [("m", "10.9.0.11")]))
    text = (tmp_path / "group_vars" / "all.yml").read_text()
    assert [each["display_name"] for each in yaml.safe_load(text)["hub_profiles"]] == ["CPU"]
    assert "# ----- images ---" in text
    assert groups(tmp_path / "hosts.yml")["cpu_workers"] == {"m": None}
    assert "gpu_workers" not in groups(tmp_path / "hosts.yml")


def test_init_overwrites_nothing(inventory: Path) -> None:
    before = inventory.read_text()
    with pytest.raises(Refused, match="there already"):
        require_new(EXAMPLE, inventory.parent)
    assert inventory.read_text() == before


def test_init_leaves_variables_of_another_hosts_file_alone(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("ours: true\n")
    with pytest.raises(Refused, match="there already"):
        require_new(EXAMPLE, tmp_path)
    with pytest.raises(Refused, match="give a folder"):
        require_new(EXAMPLE, tmp_path / "production.yml")


def test_init_reads_names_and_addresses() -> None:
    assert hosts("10.0.0.1, b=10.0.0.2", "gpu") == [("gpu1", "10.0.0.1"), ("b", "10.0.0.2")]
    with pytest.raises(Refused, match="no-address is not an address"):
        hosts("no-address", "gpu")
    with pytest.raises(Refused, match="'a b' is no name for a host"):
        hosts("a b=10.0.0.1", "gpu")


def test_add_host_changes_one_line_once(inventory: Path) -> None:
    before = inventory.read_text().splitlines()
    assert add_host(inventory, "gpu3", "10.9.1.33", "gpu_workers")
    after = inventory.read_text().splitlines()
    added = [line for line in after if line not in before]
    assert added == ["        gpu3: {ansible_host: 10.9.1.33}"]
    assert [line for line in after if line not in added] == before
    assert list(groups(inventory)["gpu_workers"]) == ["gpu1", "gpu2", "gpu3"]
    assert not add_host(inventory, "gpu3", "10.9.1.33", "gpu_workers")
    assert inventory.read_text().splitlines() == after


@pytest.mark.parametrize("labels", ["", "\n          node_labels: {rack: a}\n", "\n\n          # rack b\n"])
def test_add_host_leaves_a_hosts_own_lines_with_it(tmp_path: Path, labels: str) -> None:
    path = tmp_path / "hosts.yml"
    start = "all:\n  children:\n    cpu_workers:\n      hosts:\n        a:\n          ansible_host: 10.0.0.1\n"
    path.write_text(f"{start}{labels}\n    # the next\n    managers:\n      hosts:\n        m:\n")
    before = groups(path)
    path.chmod(0o600)
    assert add_host(path, "b", "10.0.0.2", "cpu_workers")
    members = before["cpu_workers"] | {"b": {"ansible_host": "10.0.0.2"}}
    assert groups(path) == before | {"cpu_workers": members}
    assert f"{start}{labels}        b: {{ansible_host: 10.0.0.2}}\n\n    # the next\n" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "managers:\n  hosts:\n    m:\n", "all:\n"])
def test_add_host_refuses_a_file_of_another_form(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(text)
    with pytest.raises(Refused, match="has not the form"):
        add_host(path, "b", "10.0.0.2", "cpu_workers")
    assert path.read_text() == text


def test_add_host_to_a_group_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(
        "---\n# ours\nall:\n  children:\n    managers:\n      hosts:\n        m: {ansible_host: 10.0.0.1}  # first\n"
    )
    assert add_host(path, "c", "10.0.0.2", "cpu_workers")
    assert groups(path)["cpu_workers"] == {"c": {"ansible_host": "10.0.0.2"}}
    assert "# ours" in path.read_text()
    assert "# first" in path.read_text()
    assert add_host(path, "m", "10.0.0.1", "cpu_workers"), "a manager may be a worker, too"
    assert groups(path)["cpu_workers"] == {"c": {"ansible_host": "10.0.0.2"}, "m": None}


@pytest.mark.parametrize(
    ("name", "address", "group"),
    [("gpu1", "10.9.1.99", "gpu_workers"), ("gpu9", "10.9.1.31", "gpu_workers"), ("gpu1", "10.9.1.31", "cpu_workers")],
)
def test_add_host_refuses_what_is_others(inventory: Path, name: str, address: str, group: str) -> None:
    before = inventory.read_text()
    with pytest.raises(Refused, match="already"):
        add_host(inventory, name, address, group)
    assert inventory.read_text() == before
