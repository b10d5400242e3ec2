"""Backups of the lab that is up, what a restore refuses, and the drill: a lab destroyed with its homes and restored."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub.probe_session import FormSession, Page, TokenSession, tls_context

from .conftest import INVENTORY, ROOT, SECRETS, START_TIMEOUT, Lab, PlayResult, run_playbook, secrets_seen_in

REPOSITORY = "/var/backups/swarmhub-lab"
SETTINGS = "/etc/swarmhub/backup/settings.json"
SERVICE = "swarmhub-backup.service"
PERSON, PASSWORD = f"backup-{secrets.token_hex(3)}", "correct horse battery"
#: Without these even root reads no file of others.
POWERLESS = "setpriv --bounding-set=-dac_override,-dac_read_search"


def restic(lab: Lab, *arguments: str) -> str:
    key = (SECRETS / "backup_key").read_text()
    return lab.ssh(lab.manager, f"echo {key} | restic --quiet --no-lock -r {REPOSITORY} {' '.join(arguments)}")


def snapshots(lab: Lab, tag: str = "whole") -> list[str]:
    return [each["id"] for each in json.loads(restic(lab, "snapshots", "--json", f"--tag={tag}"))]


def state(lab: Lab) -> str:
    """All that a restore, or its check, could have changed: repository, secrets, and the hub's people."""
    kept = lab.ssh(lab.manager, f"find {REPOSITORY} /etc/swarmhub -type f | sort | xargs sha256sum")
    return kept + str(sorted(SECRETS.iterdir())) + lab.session("").request("GET", "hub/api/users").text


def restore(*arguments: str, inventory: Path = INVENTORY) -> PlayResult:
    return run_playbook("playbooks/restore.yml", *arguments, inventory=inventory)


def back_up() -> PlayResult:
    result = run_playbook("playbooks/backup.yml", "-vvv")
    assert result.code == 0, result.output
    assert secrets_seen_in(result.output) == []
    return result


@pytest.fixture(scope="module")
def backed_up(lab: Lab) -> Lab:
    """The lab after two backups, the second of which had nothing new."""
    first, known = back_up(), snapshots(lab)
    size = int(lab.ssh(lab.manager, f"du -sk {REPOSITORY}").split()[0])
    second = back_up()
    print(f"backup.yml: {first.seconds:.0f} s, {second.seconds:.0f} s; {size} KiB")
    assert known[-1] in snapshots(lab)[:-1]
    assert int(lab.ssh(lab.manager, f"du -sk {REPOSITORY}").split()[0]) < size + 200
    return lab


def test_a_backup_leaves_nothing_open_and_its_timer_waits(backed_up: Lab) -> None:
    manager = backed_up.manager
    assert backed_up.ssh(manager, "ls -d /run/swarmhub-backup", check=False) == ""
    assert backed_up.ssh(manager, "find /etc/swarmhub/backup /var/lib/swarmhub-backup -perm /077") == ""
    assert backed_up.ssh(manager, "systemctl is-active swarmhub-backup.timer").strip() == "active"
    text = restic(backed_up, "dump", "latest", "/run/swarmhub-backup/manifest.json")
    manifest = json.loads(text)
    assert manifest["rows"]["users"] == len(backed_up.session("").request("GET", "hub/api/users").json())
    assert manifest["parts"].keys() == {"database.sql", "cluster.json"}
    assert secrets_seen_in(text) == []


@pytest.fixture(scope="module")
def restores(
    backed_up: Lab, pool: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, PlayResult]:
    """Restores that may not change anything, and have not: all at once."""

    def other(name: str) -> Path:
        copy = Path(shutil.copytree(INVENTORY, tmp_path_factory.mktemp("other") / "inventory"))
        (copy / "secrets" / name).write_text(secrets.token_hex(32))
        return copy

    spoilt = f"{REPOSITORY}-spoilt"
    flip = f"f=$(ls -S {spoilt}/data/*/* | head -1); chmod u+w $f; printf spoilt | dd of=$f bs=1 seek=99 conv=notrunc"
    backed_up.ssh(backed_up.manager, f"rm -rf {spoilt} && cp -r {REPOSITORY} {spoilt} && {flip} 2>&1")
    session = backed_up.add_user("backup-bob")
    before = state(backed_up)
    try:
        runs = {
            "check mode": pool.submit(restore, "--check", "-vvv"),
            "another key": pool.submit(restore, "--check", inventory=other("backup_key")),
            "other secrets": pool.submit(restore, "--check", inventory=other("crypt_key")),
            "nowhere": pool.submit(restore, "--check", "-e", "backup_repository=/nowhere"),
            "spoilt": pool.submit(restore, "--check", "-e", f"backup_repository={spoilt}"),
            "unconfirmed": pool.submit(restore),
        }
        results = {name: run.result() for name, run in runs.items()}
        assert state(backed_up) == before
    finally:
        backed_up.remove_user(session)
    return results


def test_check_mode_reads_the_backup_and_changes_nothing(restores: dict[str, PlayResult]) -> None:
    result = restores["check mode"]
    assert result.code == 0, result.output
    assert "repository and checksums are right" in " ".join(result.output.split())
    assert secrets_seen_in(result.output) == []


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("another key", "was made with another key"),
        ("other secrets", "crypt_key in"),
        ("nowhere", "there is no repository at /nowhere"),
        ("spoilt", f"the repository at {REPOSITORY}-spoilt is damaged"),
        ("unconfirmed", "Nothing was changed: type"),
    ],
)
def test_what_cannot_be_restored_is_refused(restores: dict[str, PlayResult], run: str, words: str) -> None:
    assert restores[run].code != 0
    assert words in " ".join(restores[run].output.split()), restores[run].output


def test_a_run_that_fails_is_seen_and_leaves_no_backup(backed_up: Lab) -> None:
    manager, before = backed_up.manager, snapshots(backed_up)
    backed_up.ssh(manager, f"sed -i s/:5432/:5433/ {SETTINGS}")
    assert "cannot be dumped" in backed_up.ssh(
        manager, f"swarmhub-backup run 2>&1; systemctl start {SERVICE}", check=False
    )
    assert snapshots(backed_up) == before
    result = run_playbook("site.yml", "--check")
    backed_up.ssh(manager, f"sed -i s/:5433/:5432/ {SETTINGS}")
    assert result.code == 0, result.output
    assert "the last backup failed" in result.output
    assert f"{SETTINGS} content differs" in result.output


@pytest.mark.long
def test_what_could_not_be_read_whole_does_not_count(backed_up: Lab) -> None:
    manager, before = backed_up.manager, snapshots(backed_up)
    closed = "/srv/swarmhub/homes/backup-closed"
    backed_up.ssh(manager, f"mkdir -p {closed} && chown 1000:100 {closed} && chmod 700 {closed}")
    try:
        said = backed_up.ssh(manager, f"{POWERLESS} swarmhub-backup run 2>&1", check=False)
    finally:
        backed_up.ssh(manager, f"rmdir {closed}")
    assert closed in said
    assert "could not read" in said
    assert (snapshots(backed_up), len(snapshots(backed_up, "partial"))) == (before, 1)
    backed_up.ssh(manager, f"systemctl start {SERVICE}")
    assert snapshots(backed_up, "partial") == []


@pytest.mark.long
@pytest.mark.parametrize("moment", ["Note that", "Look at every host", "Stop the hub", "Put them", "hub_stack"])
def test_a_restore_that_was_killed_is_mended_by_the_next(backed_up: Lab, moment: str) -> None:
    session = backed_up.add_user("backup-carol")
    home = "/srv/swarmhub/homes/backup-carol"
    backed_up.ssh(backed_up.manager, f"mkdir -p {home} && echo work > {home}/file")
    back_up()
    backed_up.remove_user(session)
    backed_up.ssh(backed_up.manager, f"rm -r {home}")
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(INVENTORY), "playbooks/restore.yml"]
    with subprocess.Popen(
        [*command, "-e", "confirm=yes"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1", "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "1"},
    ) as run:  # fmt: skip
        assert run.stdout is not None
        assert next((line for line in run.stdout if re.search(rf"^(TASK|PLAY) \[({moment})", line)), "")
        os.killpg(run.pid, signal.SIGKILL)
    again = restore("-e", "confirm=yes") if moment == "Note that" else restore()
    assert again.code == 0, again.output
    assert session.request("GET", session.api_path).json()["name"] == session.name
    assert backed_up.ssh(backed_up.manager, f"cat {home}/file").strip() == "work"
    backed_up.ssh(backed_up.manager, "test ! -e /etc/swarmhub/backup/restoring")


def test_nothing_is_restored_under_a_notebook(backed_up: Lab, notebook: TokenSession) -> None:
    result = restore("-e", "confirm=yes")
    assert result.code != 0
    assert "Notebooks run on" in result.output
    assert set(result.changed.values()) == {0}


# --- the drill -------------------------------------------------------------------------------------------------------


def form_session(lab: Lab, name: str, password: str) -> FormSession:
    options = {"start_timeout": START_TIMEOUT, "request_timeout": 30, "tls": tls_context(None, True)}
    return FormSession(lab.access["url"], name, password, **options)


def sign_up(lab: Lab) -> str:
    """Sign up on the hub's page, be let in by the administrator, sign in, and return a token that the hub gave."""
    person = form_session(lab, PERSON, PASSWORD)
    page = Page(person.request("GET", "hub/signup").text)
    form = {"username": PERSON, "signup_password": PASSWORD, "signup_password_confirmation": PASSWORD}
    person.request("POST", "hub/signup", data={**form, "_xsrf": page.fields["_xsrf"][0]})
    admin = form_session(lab, lab.access["admin_user"], lab.access["admin_password"])
    admin.sign_in()
    admin.request("POST", f"hub/authorize/{PERSON}", follow_redirects=True)
    person.sign_in()
    return str(person.request("POST", f"{person.api_path}/tokens", json={}).json()["token"])


def through_a_notebook(lab: Lab, method: str, **options: t.Any) -> dict[str, t.Any]:
    """What the person's notebook, which goes on running, answers about the file."""
    session = lab.session(PERSON)
    session.start(lab.profile(cards=False))
    session.wait_until_ready()
    path = f"user/{PERSON}/api/contents/work.bin?format=base64"
    return t.cast("dict[str, t.Any]", session.request(method, path, **options).json())


def command(*arguments: str, timeout: float = 900) -> float:
    """Run a command of the project and return its seconds."""
    begun = time.monotonic()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, timeout=timeout, stdin=subprocess.DEVNULL)
    return time.monotonic() - begun


def on_host(host: str, module: str, arguments: str) -> None:
    command("-m", "ansible", "adhoc", "-i", str(INVENTORY), host, "--become", "-m", module, "-a", arguments)


@pytest.mark.long
def test_a_lab_that_is_destroyed_with_its_homes_is_restored(lab: Lab, tmp_path: Path) -> None:
    layout = "single" if len(lab.variables) == 1 else "default"
    token = sign_up(lab)
    work = os.urandom(2_000_000)
    model = {"type": "file", "format": "base64", "content": base64.b64encode(work).decode()}
    through_a_notebook(lab, "PUT", json=model)
    backup = back_up()
    kept = {"repository": tmp_path / "repository.tar", "key": tmp_path / "backup_key"}
    lab.ssh(lab.manager, f"tar -C {REPOSITORY} -cf {REPOSITORY}.tar .")
    on_host(lab.manager, "ansible.builtin.fetch", f"src={REPOSITORY}.tar dest={kept['repository']} flat=true")
    shutil.copy(SECRETS / "backup_key", kept["key"])

    down = command("molecule/shared/lab.py", "down")
    assert not SECRETS.exists()
    up = command("molecule/shared/lab.py", "up", "--layout", layout, "--hosts-only")
    SECRETS.mkdir(mode=0o700)
    shutil.copy(kept["key"], SECRETS / "backup_key")
    on_host(lab.manager, "ansible.builtin.file", f"path={REPOSITORY} state=directory mode=0700")
    on_host(lab.manager, "ansible.builtin.unarchive", f"src={kept['repository']} dest={REPOSITORY}")
    result = run_playbook("playbooks/restore.yml", timeout=900)
    assert result.code == 0, result.output
    command("molecule/shared/lab.py", "up", "--layout", layout)
    vars(lab).update(vars(Lab()))
    Lab._host.cache_clear()

    assert form_session(lab, PERSON, PASSWORD).sign_in() == "by the sign-in page"
    assert lab.session(PERSON).token_is_accepted(token)
    found = base64.b64decode(through_a_notebook(lab, "GET")["content"])
    assert hashlib.sha256(found).digest() == hashlib.sha256(work).digest()
    lab.remove_user(lab.session(PERSON))
    again = run_playbook("site.yml")
    assert set(again.changed.values()) == {0}, again.output
    print(f"{layout}: backup.yml {backup.seconds:.0f} s, lab destroyed {down:.0f} s, new hosts {up:.0f} s, "
          f"restore.yml {result.seconds:.0f} s")  # fmt: skip
