"""Somebody leaves: playbooks/offboard.yml."""

from __future__ import annotations

import contextlib
import secrets
import typing as t

import pytest
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import FormSession, HubError, Page, TokenSession, tls_context

from .cards import timed_start
from .conftest import Lab, PlayResult, run_playbook


def offboard(user: str, *arguments: str) -> PlayResult:
    return run_playbook("playbooks/offboard.yml", f"-euser={user}", *arguments)


@pytest.fixture
def leaver(lab: Lab) -> t.Iterator[TokenSession]:
    """Somebody whose notebook runs, with a file at home."""
    session = lab.add_user(f"leaver-{secrets.token_hex(3)}")
    homes = lab.variables[lab.manager]["hub_homes_path"]
    try:
        timed_start(session, lab.profile(cards=False))
        with Kernel(session, 60) as kernel:
            kernel.run("open('thesis.txt', 'w').write('mine'); None")
        yield session
    finally:
        with contextlib.suppress(HubError):  # who is gone, as it should be
            lab.remove_user(session)
        lab.ssh(lab.manager, f"rm -rf {homes}/{session.name} {homes}/.archive/{session.name}.*")


def test_who_leaves_is_gone_and_the_home_is_kept_in_an_archive(lab: Lab, leaver: TokenSession) -> None:
    homes = lab.variables[lab.manager]["hub_homes_path"]
    predicted = offboard(leaver.name, "--check")
    assert predicted.code == 0, predicted.output
    refused = offboard(leaver.name)
    assert refused.code != 0
    assert f"type {leaver.name}, or run with -e confirm=yes" in refused.output
    assert leaver.server() is not None

    result = offboard(leaver.name, "-econfirm=yes")
    assert result.code == 0, result.output
    print(f"offboard.yml: {result.seconds:.0f} s")
    with pytest.raises(HubError, match="404"):
        leaver.server()
    assert lab.services(leaver.name) == []
    archive = lab.ssh(lab.manager, f"ls {homes}/.archive/{leaver.name}.*.tar.gz").strip()
    assert archive in result.output
    assert (
        lab.ssh(lab.manager, f"stat -c %a:%u {archive} && tar -xzOf {archive} {leaver.name}/thesis.txt")
        == "600:0\nmine"
    )
    assert lab.ssh(lab.manager, f"ls -d {homes}/{leaver.name}", check=False) == ""

    again = offboard(leaver.name)
    assert (again.code, set(again.changed.values())) == (0, {0}), again.output
    assert archive in again.output


def test_an_account_that_nobody_came_with_goes_too(lab: Lab) -> None:
    name, password = f"no-show-{secrets.token_hex(3)}", "long-enough-for-a-test"
    options: dict[str, t.Any] = {"start_timeout": 60, "request_timeout": 30, "tls": tls_context(None, True)}
    person = FormSession(lab.access["url"], name, password, **options)
    page = Page(person.request("GET", "hub/signup").text)
    form = {"username": name, "signup_password": password, "signup_password_confirmation": password}
    person.request("POST", "hub/signup", data={**form, "_xsrf": page.fields["_xsrf"][0]})
    predicted = offboard(name, "--check")
    assert (predicted.code, sum(predicted.changed.values())) == (0, 1), predicted.output
    result = offboard(name, "-econfirm=yes")
    assert (result.code, sum(result.changed.values())) == (0, 1), result.output
    assert "there was no home" in result.output
    again = offboard(name, "-econfirm=yes")
    assert again.code != 0
    assert f"neither an account nor a home nor an archive of {name}" in " ".join(again.output.split())


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("", "Say who leaves"),
        ("nobody-has-this", "neither an account nor a home nor an archive of nobody-has-this"),
        ("swarmhub-probe", "swarmhub-probe stays"),
    ],
)
def test_who_is_unknown_or_stays_is_refused(lab: Lab, user: str, words: str) -> None:
    refused = offboard(user, "-econfirm=yes")
    assert refused.code != 0
    assert words in " ".join(refused.output.split())
    assert set(refused.changed.values()) == {0}
    assert lab.session("swarmhub-probe").request("GET", "hub/api/users/swarmhub-probe").status_code == 200
