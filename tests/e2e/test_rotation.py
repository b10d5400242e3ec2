"""New secrets while a notebook runs."""

from __future__ import annotations

import random
import typing as t

import pytest
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import FormSession, HubError, TokenSession, tls_context

from .conftest import SECRETS, Lab, run_playbook
from .kills import SEEDS, kill_playbook

ROTATE = "playbooks/rotate_secrets.yml"
CONFIRMED = ("-e", "confirm=yes")
# Those by which the tests themselves reach the hub stay, but for the last test.
QUIET = ("-e", "rotate=proxy_token,cookie_secret,crypt_key,db_password,probe_password,metrics_token,join_tokens")


def secrets() -> dict[str, str]:
    return {path.name: path.read_text() for path in SECRETS.iterdir() if path.is_file()}


def join_tokens(lab: Lab) -> set[str]:
    return {lab.docker("swarm", "join-token", "--quiet", role) for role in ("worker", "manager")}


def database_lets_in(lab: Lab, password: str) -> bool:
    address = lab.variables[lab.manager]["ansible_host"]
    command = f"PGPASSWORD={password} psql --host={address} --username=jupyterhub jupyterhub --command='SELECT 1'"
    return "1 row" in lab.ssh(lab.manager, f"{command} 2>&1", check=False)


def people_work(lab: Lab, notebook: TokenSession) -> None:
    """The administrator signs in by password, and the notebook runs code."""
    options: dict[str, t.Any] = {"start_timeout": 60, "request_timeout": 30, "tls": tls_context(None, True)}
    FormSession(lab.access["url"], lab.access["admin_user"], lab.access["admin_password"], **options).sign_in()
    with Kernel(notebook, 60) as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"


def test_nothing_is_rotated_without_a_confirmation_or_by_a_wrong_name(lab: Lab) -> None:
    before = secrets()
    unconfirmed = run_playbook(ROTATE)
    assert unconfirmed.code != 0
    assert f"Nothing was changed: type {lab.variables[lab.manager]['cluster_name']}" in unconfirmed.output
    wrong = run_playbook(ROTATE, *CONFIRMED, "-e", "rotate=registry_password")
    assert wrong.code != 0
    assert "registry_password cannot be rotated; choose from proxy_token" in wrong.output
    assert secrets() == before


def test_new_secrets_stop_no_notebook_and_the_old_ones_open_nothing(lab: Lab, notebook: TokenSession) -> None:
    before, tokens = secrets(), join_tokens(lab)
    container = lab.containers(*lab.services(notebook.name))
    assert database_lets_in(lab, before["db_password"])

    result = run_playbook(ROTATE, *CONFIRMED, *QUIET)

    assert result.code == 0, result.output
    after = secrets()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"proxy_token", "cookie_secret", "crypt_key", "db_password", "probe_password", "metrics_token"}
    (monitor,) = lab.inventory["monitoring_server"]["hosts"]
    assert lab.ssh(monitor, "cat /etc/prometheus/swarmhub-metrics-token") == after["metrics_token"]
    assert not join_tokens(lab) & tokens
    assert not database_lets_in(lab, before["db_password"])
    assert database_lets_in(lab, after["db_password"])
    assert lab.containers(*lab.services(notebook.name)) == container
    assert not (SECRETS / "former").exists()
    people_work(lab, notebook)
    print(f"rotate_secrets.yml: {result.seconds:.0f} s")
    again = run_playbook("site.yml")
    assert (again.code, set(again.changed.values())) == (0, {0}), again.output


@pytest.mark.long
@SEEDS
def test_a_killed_rotation_goes_on(lab: Lab, notebook: TokenSession, seed: int) -> None:
    container = lab.containers(*lab.services(notebook.name))
    seconds = random.Random(seed).uniform(5, 40)
    early = kill_playbook(seconds, ROTATE, *CONFIRMED, *QUIET)
    unfinished = (SECRETS / "former").exists()
    if unfinished:
        assert "Run playbooks/rotate_secrets.yml again" in run_playbook("site.yml").output
    made = secrets()
    result = run_playbook(ROTATE, *CONFIRMED, *QUIET)
    assert result.code == 0, result.output
    print(f"seed {seed}: killed after {seconds:.0f} s: {early}; unfinished: {unfinished}")
    if unfinished:
        kept = {name for name in made if made[name] == secrets()[name]}
        assert {"proxy_token", "cookie_secret"} <= kept
    assert not (SECRETS / "former").exists()
    assert lab.containers(*lab.services(notebook.name)) == container
    people_work(lab, notebook)


@pytest.mark.long
def test_a_new_api_token_shuts_out_the_old(lab: Lab, notebook: TokenSession) -> None:
    notebook.request("GET", notebook.api_path)
    result = run_playbook(ROTATE, *CONFIRMED, "-e", "rotate=api_token")
    assert result.code == 0, result.output
    with pytest.raises(HubError, match="403"):
        notebook.request("GET", notebook.api_path)
    notebook._token = lab.api_token
    notebook.request("GET", notebook.api_path)
