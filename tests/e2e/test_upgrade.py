"""A newer hub comes to an older database, while a notebook runs; and the way back."""

from __future__ import annotations

import re
import time
import typing as t

import pytest
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import FormSession, HubError, Page, TokenSession, tls_context

from .conftest import Lab, PlayResult, run_playbook
from .kills import SEEDS, Whole, kill_and_mend, run_whole

UPGRADE = "playbooks/upgrade.yml"
CONFIRMED = ("-e", "confirm=yes")
OUTAGE = re.compile(r"The hub did not answer for ([\d.]+) s, the proxy for ([\d.]+) s")
# JupyterHub's revision 4621fec11365, undone by hand.
NEWEST, OLDER = "4621fec11365", "3c2384c5aae1"
TABLES = ("group_role_map", "roles", "service_role_map", "user_role_map")


def sql(lab: Lab, statement: str) -> str:
    return lab.ssh(lab.manager, f'runuser -u postgres -- psql -tAc "{statement}" jupyterhub').strip()


def revision(lab: Lab) -> str:
    return sql(lab, "SELECT version_num FROM alembic_version")


def make_older(lab: Lab) -> None:
    """Put the database's schema one step back."""
    dropped = "; ".join(f"ALTER TABLE {table} DROP COLUMN managed_by_auth" for table in TABLES)
    # In one call, which is one transaction.
    sql(lab, f"{dropped}; UPDATE alembic_version SET version_num = '{OLDER}'")  # noqa: S608 - the constants above


def kill_hub(lab: Lab) -> None:
    ((host, container),) = lab.containers("swarmhub_hub")
    lab.docker("kill", container, host=host)


def upgrade(*arguments: str) -> PlayResult:
    result = run_playbook(UPGRADE, *CONFIRMED, *arguments)
    assert result.code == 0, result.output
    return result


def names(lab: Lab) -> set[str]:
    return {user["name"] for user in lab.session("").request("GET", "hub/api/users").json()}


@pytest.fixture
def dumps(lab: Lab) -> t.Iterator[t.Callable[[], set[str]]]:
    """Tells which dumps the test has made; they are removed."""

    def found() -> set[str]:
        return set(lab.ssh(lab.manager, "ls /var/backups/swarmhub 2>/dev/null || true").split())

    before = found()
    yield lambda: found() - before
    for name in found() - before:
        lab.ssh(lab.manager, f"rm /var/backups/swarmhub/{name}")


@pytest.fixture
def member(lab: Lab) -> t.Iterator[FormSession]:
    """Somebody who signed up, was let in and has signed in."""
    name, password = "upgrade-member", "long-enough-for-a-test"
    options: dict[str, t.Any] = {"start_timeout": 60, "request_timeout": 30, "tls": tls_context(None, True)}
    session = FormSession(lab.access["url"], name, password, **options)
    page = Page(session.request("GET", "hub/signup").text)
    form = {"username": name, "signup_password": password, "signup_password_confirmation": password}
    session.request("POST", "hub/signup", data={**form, "_xsrf": page.fields["_xsrf"][0]})
    sql(lab, f"UPDATE users_info SET is_authorized = true WHERE username = '{name}'")  # noqa: S608 - see above
    session.sign_in()
    yield session
    lab.remove_user(lab.session(name))


def test_an_upgrade_is_confirmed_and_without_one_there_is_no_way_back(lab: Lab) -> None:
    unconfirmed = run_playbook(UPGRADE)
    assert unconfirmed.code != 0
    assert "Nothing was changed: type" in unconfirmed.output
    back = run_playbook(UPGRADE, *CONFIRMED, "-e", "back=yes")
    assert back.code != 0
    assert "No upgrade is under way" in back.output
    assert set(back.changed.values()) == {0}


def test_a_newer_schema_comes_by_an_upgrade_alone_and_notebooks_run_on(
    lab: Lab, notebook: TokenSession, member: FormSession, dumps: t.Callable[[], set[str]]
) -> None:
    container = lab.containers(*lab.services(notebook.name))
    assert revision(lab) == NEWEST
    with Kernel(notebook, 60) as kernel:
        kernel.run("kept = 42")
        make_older(lab)
        kill_hub(lab)
        deadline = time.monotonic() + 60
        # A task that ends just now makes the command fail.
        while "upgrade-db" not in lab.ssh(lab.manager, "docker service logs --tail=40 swarmhub_hub 2>&1", check=False):
            assert time.monotonic() < deadline, "the hub does not refuse the older schema"
            time.sleep(1)
        assert revision(lab) == OLDER

        result = upgrade("-e", "hold=yes")

        assert revision(lab) == NEWEST
        (hub, proxy), *_ = OUTAGE.findall(result.output)
        print(f"out of service in the upgrade: hub {hub} s, proxy {proxy} s; the whole run {result.seconds:.0f} s")
        assert kernel.run("print(kept)") == "42\n"
    assert lab.containers(*lab.services(notebook.name)) == container
    (dump,) = dumps()
    assert lab.ssh(lab.manager, "stat -c %a:%U /var/backups/swarmhub").strip() == "700:postgres"

    person = lab.session("upgrade-person")
    person.request("POST", person.api_path)
    assert "upgrade-person" in names(lab)
    upgrade("-e", "back=yes", "-e", "hold=yes")
    assert "upgrade-person" not in names(lab)
    assert notebook.name in names(lab)
    assert dumps() == {dump}
    with Kernel(notebook, 60) as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    assert lab.containers(*lab.services(notebook.name)) == container

    with pytest.raises(HubError, match="No notebook can be started now: The hub is being upgraded"):
        member.start(lab.profile(cards=False))
    upgrade()
    member.start(lab.profile(cards=False))
    member.wait_until_ready()
    again = run_playbook("site.yml")
    assert (again.code, set(again.changed.values())) == (0, {0}), again.output


@pytest.fixture(scope="module")
def whole(lab: Lab, notebook: TokenSession) -> Whole:
    """An upgrade that nobody killed."""
    make_older(lab)
    kill_hub(lab)
    return run_whole(UPGRADE, *CONFIRMED)


@pytest.mark.long
@SEEDS
def test_a_killed_upgrade_is_mended_by_the_next(
    lab: Lab, notebook: TokenSession, whole: Whole, dumps: t.Callable[[], set[str]], seed: int
) -> None:
    container = lab.containers(*lab.services(notebook.name))
    announced = lab.session("").request("GET", "hub/api/announcements").json()
    make_older(lab)
    kill_hub(lab)
    kill_and_mend(seed, whole, UPGRADE, *CONFIRMED)
    assert revision(lab) == NEWEST
    assert lab.session("").request("GET", "hub/api/announcements").json() == announced
    assert 1 <= len(dumps()) <= 2  # the killed run's may be whole or not
    assert lab.containers(*lab.services(notebook.name)) == container
    with Kernel(notebook, 60) as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    again = run_playbook("site.yml")
    assert (again.code, set(again.changed.values())) == (0, {0}), again.output
