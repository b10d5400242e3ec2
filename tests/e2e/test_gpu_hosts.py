"""GPU workers over their lives: versions, replaced boards, reboots, mixed models, MIG, shared cards."""

from __future__ import annotations

import json
import re
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .cards import held_cards, pending, remove_users, seen_cards, spoil, timed_start, where
from .conftest import Lab, PlayResult, edit_hosts, run_playbook

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("mended")]

NEW_CARD = "GPU-00000000-1111-4222-8333-444444444444"
INSTANCES = [f"MIG-00000000-1111-5222-8333-44444444444{number}" for number in range(2)]
TOOLKIT = "dpkg-query --showformat '${Version} ${db:Status-Want}\\n' --show 'nvidia-container-*' 'libnvidia-container*'"


def site(*arguments: str, **options: t.Any) -> PlayResult:
    """Run site.yml, which must end well."""
    result = run_playbook("site.yml", *arguments, timeout=600, **options)
    assert result.code == 0, result.output
    return result


def probed(result: PlayResult) -> set[str]:
    """The hosts on which a run has proved who sees which cards."""
    return set(re.findall(r"(\w+)\s+ask for all\s+passed", result.output))


@pytest.fixture(scope="module", autouse=True)
def settled() -> t.Iterator[None]:
    """After the last test the lab is as its inventory says."""
    yield
    site()


@pytest.mark.parametrize("version", ["1.19.0-1", "1.20.0-1"])
def test_the_toolkit_is_of_the_version_that_is_asked_for_once_no_notebook_runs(lab: Lab, version: str) -> None:
    wish = f"gpu_toolkit_version={version}"
    site("-e", "gpu_toolkit_version=1.20.0-1" if version == "1.19.0-1" else "gpu_toolkit_version=1.19.0-1")
    session = lab.add_user("e2e-toolkit")
    try:
        timed_start(session, lab.profile(cards=True))
        host, container = where(lab, session)
        assert "nvidia-container-toolkit" in pending(site("-e", wish).output)[host]
        assert where(lab, session) == (host, container)
    finally:
        lab.remove_user(session)
    assert host in probed(site("-e", wish))
    for host in ("gpu1", "gpu2"):
        assert set(lab.ssh(host, TOOLKIT).split("\n")) == {f"{version} hold", ""}
        assert 'swarm-resource = "DOCKER_RESOURCE_GPU"' in lab.ssh(
            host, "cat /etc/nvidia-container-runtime/config.toml"
        )


def test_a_replaced_card_is_settled_by_a_drain(lab: Lab) -> None:
    session = lab.add_user("e2e-replaced")
    try:
        timed_start(session, lab.profile(cards=True))
        host, _ = where(lab, session)
        spoil(lab, host, lambda told: told["cards"][0].update(uuid=NEW_CARD))
        words = pending(site().output)[host]
        assert re.search(rf"card GPU-\S+ is gone, {NEW_CARD} is not advertised yet", words)
        assert "docker_engine_restart=drain" in words
        result = site("-e", "docker_engine_restart=drain", "-e", "drain_wait=0", "-e", "drain_busy=stop")
        assert host in probed(result)
        (node,) = lab.inspect("node", host)
        assert NEW_CARD in json.dumps(node["Description"]["Resources"])
        assert node["Spec"]["Availability"] == "active"
        assert not [label for label in node["Spec"]["Labels"] if "drained" in label]
        assert sum(site().changed.values()) == 0
    finally:
        lab.remove_user(session)


def test_a_driver_is_installed_and_its_reboot_is_taken_when_it_is_asked_for(lab: Lab, copied_inventory: Path) -> None:
    edit_hosts(copied_inventory, lambda everything: everything["hosts"]["gpu1"].update(gpu_driver=True))
    spoil(lab, "gpu1", lambda told: told.update(fault="not loaded"))
    boots = "systemctl show --value --property=UserspaceTimestamp"
    before = lab.ssh("gpu1", boots)
    words = pending(site(inventory=copied_inventory).output)["gpu1"]
    assert "the driver is installed and not loaded" in words
    assert "gpu_reboot=true" in words
    assert lab.ssh("gpu1", boots) == before
    site("-e", "gpu_reboot=true", inventory=copied_inventory)
    assert lab.ssh("gpu1", boots) != before
    assert lab.ssh("gpu1", "nvidia-smi -L").count("UUID") == 2
    result = site(inventory=copied_inventory)
    assert (sum(result.changed.values()), pending(result.output)) == (0, {})


DRIVER = ("nvidia-driver", "nvidia-kernel-dkms", "nvidia-smi", "libcuda1")
OLDER_DRIVER = "535.261.03-1+lab"


def test_a_newer_driver_comes_with_its_reboot_alone(lab: Lab, copied_inventory: Path) -> None:
    def installed() -> list[str]:
        return lab.ssh("gpu1", f"dpkg-query --showformat '${{Version}}\\n' --show {' '.join(DRIVER)}").split()

    def upgrade(*arguments: str) -> PlayResult:
        wish = ("-e", "node=gpu1", "-e", "confirm=yes", *arguments)
        result = run_playbook("playbooks/upgrade_node.yml", *wish, inventory=copied_inventory, timeout=600)
        assert result.code == 0, result.output
        return result

    edit_hosts(copied_inventory, lambda everything: everything["hosts"]["gpu1"].update(gpu_driver=True))
    packages = " ".join(f"{name}={OLDER_DRIVER}" for name in DRIVER)
    lab.ssh("gpu1", f"apt-get install --yes --allow-downgrades --allow-change-held-packages {packages}")
    site("-e", "gpu_reboot=true", inventory=copied_inventory)
    assert set(installed()) == {OLDER_DRIVER}
    assert upgrade().changed["gpu1"] == 0
    assert set(installed()) == {OLDER_DRIVER}

    result = upgrade("-e", "gpu_reboot=true")
    assert OLDER_DRIVER not in installed()
    assert lab.ssh("gpu1", "nvidia-smi -L").count("UUID") == 2
    assert "gpu1" in probed(result)
    print(f"a newer driver, its reboot and a notebook that proves the cards: {result.seconds:.0f} s")
    assert upgrade("-e", "gpu_reboot=true").changed["gpu1"] == 0


def profile(lab: Lab, name: str, node: str, **more: t.Any) -> dict[str, t.Any]:
    """The lab's profile with a card, for one node alone, changed by ``more``."""
    profiles = lab.variables[lab.manager]["hub_profiles"]
    gpu = next(each for each in profiles if each.get("gpus"))
    return {**gpu, "display_name": name, "slug": name, "constraints": [f"node.hostname=={node}"], **more}


def test_mixed_models_and_mig_instances_are_had_by_name(lab: Lab, tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    def mix(told: dict[str, t.Any]) -> None:
        told["cards"][0]["name"] = "NVIDIA RTX A6000"
        parts = [{"profile": "1g.5gb", "uuid": uuid} for uuid in INSTANCES]
        told["cards"][3].update(name="NVIDIA A100-SXM4-40GB", mig=parts)

    spoil(lab, "gpu2", mix)
    wishes = {"big": "rtx-a6000", "small": "geforce-rtx-3090", "part": "mig-1g-5gb", "any": ""}
    profiles = [profile(lab, name, "gpu2", gpu_model=model) for name, model in wishes.items()]
    profiles.append(profile(lab, "none", "gpu2", gpus=0))
    path = tmp_path / "profiles.json"
    path.write_text(json.dumps({"hub_profiles": [*lab.variables[lab.manager]["hub_profiles"], *profiles]}))
    assert "gpu2" in probed(site("-e", f"@{path}"))
    users = [lab.add_user(f"e2e-{each['slug']}") for each in profiles]
    try:
        # Who takes any card would take the only one of its model.
        for some in (("big", "small", "part", "none"), ("any",)):
            starting = [
                (user, each["slug"]) for user, each in zip(users, profiles, strict=True) if each["slug"] in some
            ]
            list(pool.map(timed_start, *zip(*starting, strict=True)))
        held = dict(zip([*wishes, "none"], [held_cards(lab, user) for user in users], strict=True))
        cards = json.loads(lab.ssh("gpu2", "cat /etc/swarmhub-lab/cards"))["cards"]
        models = {card["uuid"]: card["name"] for card in cards}
        assert {models[uuid] for uuid in held["big"]} == {"NVIDIA RTX A6000"}
        assert {models[uuid] for uuid in held["small"]} == {"NVIDIA GeForce RTX 3090"}
        assert len(held["any"]) == 1
        assert set(held["part"]) < set(INSTANCES)
        assert held["none"] == []
        for name in ("big", "small", "any", "none"):
            user = users[[each["slug"] for each in profiles].index(name)]
            assert seen_cards(lab, user) == held[name], name
        host, container = where(lab, users[2])
        listed = lab.docker("exec", container, "nvidia-smi", "-L", host=host)
        assert re.findall(r"MIG-[0-9a-f-]+", listed) == held["part"]
    finally:
        remove_users(lab, pool, users)


def test_a_shared_card_is_had_by_several_and_by_nobody_alone(
    lab: Lab, copied_inventory: Path, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    shared = json.loads(lab.ssh("gpu1", "cat /etc/swarmhub-lab/cards"))["cards"][0]["uuid"]
    edit_hosts(copied_inventory, lambda everything: everything["hosts"]["gpu1"].update(gpu_shared=[shared]))
    profiles = [profile(lab, "share", "gpu1", gpus=0, gpu_shared=True), profile(lab, "own", "gpu1")]
    path = tmp_path / "profiles.json"
    path.write_text(json.dumps({"hub_profiles": [*lab.variables[lab.manager]["hub_profiles"], *profiles]}))
    site("-e", f"@{path}", inventory=copied_inventory)
    users = [lab.add_user(f"e2e-share-{number}") for number in range(3)]
    try:
        list(pool.map(timed_start, users, ["share", "share", "own"]))
        assert [held_cards(lab, user) for user in users[:2]] == [[], []]
        assert [seen_cards(lab, user) for user in users[:2]] == [[shared], [shared]]
        assert seen_cards(lab, users[2]) == held_cards(lab, users[2]) != [shared]
    finally:
        remove_users(lab, pool, users)
