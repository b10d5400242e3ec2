"""Real runs on this machine: exit codes, the lock, Ctrl-C, and what stays afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from command.conftest import Make, end, lines, start, wait_for
from swarmhub import runner
from swarmhub.project import Project

SECRET = "correct-horse-battery"
SLEEPING = """\
    - {name: Change something, ansible.builtin.command: echo, changed_when: true}
    - {name: Sleep, ansible.builtin.command: sleep 2, changed_when: false}
    - {name: Never reached, ansible.builtin.command: echo, changed_when: true}
"""


def left(project: Project) -> list[Path]:
    return list(project.work.iterdir())


def test_a_run_is_kept_without_its_secrets(make_project: Make) -> None:
    project = make_project(
        "    - {name: Use it, ansible.builtin.command: 'echo {{ password }}', changed_when: true}\n"
        "    - {name: Complain, ansible.builtin.fail: {msg: 'refused: {{ password }}'}}\n"
    )
    (project.inventory_folder / "secrets" / "db_password").write_text(SECRET)
    code, out, err = end(start(project, "apply", "-e", f"password={SECRET}", "--json"))
    assert code == 1
    last = json.loads(out.splitlines()[-1])
    assert last["outcome"] == "failed"
    assert last["failures"][0]["message"] == "refused: •••"
    kept = [path for path in (project.root / ".swarmhub").rglob("*") if path.is_file()]
    assert {path.name for path in kept} == {"run.json", "events.jsonl"}
    assert not any(SECRET in path.read_text() for path in kept)
    assert SECRET not in out + err
    assert left(project) == []


def test_a_play_that_ansible_cannot_read_is_told(make_project: Make) -> None:
    project = make_project(f"    - {{name: Use it, ansible.builtin.command: true}}  # {SECRET}\n")
    code, out, err = end(start(project, "apply"))
    assert (code, err) == (1, "")
    assert "✗ Ansible\n  unexpected parameter type in action: <class 'bool'>\n  Origin: " in out
    assert f"{project.root}/site.yml:5:7" in out
    kept = [path.read_text() for path in (project.root / ".swarmhub").rglob("*") if path.is_file()]
    assert not any(SECRET in text for text in [*kept, out])


def test_ctrl_c_lets_running_tasks_end_and_another_run_is_refused_meanwhile(make_project: Make) -> None:
    project = make_project(SLEEPING)
    first = start(project, "apply")
    wait_for(project, "Sleep")
    code, _, err = end(start(project, "apply"))
    assert code == 3
    assert f"pid {first.pid}" in err
    first.send_signal(signal.SIGINT)
    code, out, _ = end(first)
    assert code == 4
    assert "Changed by then: " in out
    assert "Cut short" not in out
    assert not any("Never reached" in line and '"host"' in line for line in lines(project))
    assert sum('"ok"' in line and '"Sleep"' in line for line in lines(project)) == 2
    assert left(project) == []


def test_ctrl_c_twice_ends_at_once(make_project: Make) -> None:
    project = make_project(SLEEPING.replace("sleep 2", "sleep 40"))
    run = start(project, "apply")
    wait_for(project, "Sleep")
    run.send_signal(signal.SIGINT)
    time.sleep(0.3)
    begun = time.monotonic()
    run.send_signal(signal.SIGINT)
    code, out, _ = end(run)
    assert code == 4
    assert time.monotonic() - begun < 15
    assert "Cut short on one: Sleep." in out


def test_the_playbook_of_a_killed_command_ends_with_it(make_project: Make) -> None:
    project = make_project(SLEEPING.replace("sleep 2", "sleep 60"))
    run = start(project, "apply")
    wait_for(project, "Sleep")
    assert any("ansible-playbook" in line for line in at_work(project))
    run.kill()
    run.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while at_work(project):
        assert time.monotonic() < deadline, at_work(project)
        time.sleep(0.05)
    assert len(left(project)) == 1, "a killed command cannot clean up"
    # The lock went with it, and the next run finds what was left.
    (project.root / "site.yml").write_text((project.root / "site.yml").read_text().replace("sleep 60", "sleep 0"))
    code, out, err = end(start(project, "apply"))
    assert code == 0, out + err
    assert left(project) == []
    code, out, _ = end(start(project, "runs", "list", "--json"))
    assert [run["outcome"] for run in json.loads(out)] == ["well", "killed"]


def at_work(project: Project) -> list[str]:
    """The processes that name the project; what a task runs on a host is not among them."""
    return [line for line in processes() if str(project.root) in line]


def processes() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_a_playbook_whose_command_is_gone_begins_nothing(make_project: Make, tmp_path: Path) -> None:
    """Where the kernel does not tell, or the command was killed before it could."""
    project = make_project(f"    - {{name: Write, ansible.builtin.copy: {{content: '', dest: {tmp_path}/written}}}}\n")
    ansible = [sys.executable, "-m", "ansible", "playbook", "site.yml"]
    for pid, code in ((os.getpid(), 0), (1, 99)):
        (tmp_path / "written").unlink(missing_ok=True)
        own = {**runner._environment(project, tmp_path / "stop", None), "SWARMHUB_PID": str(pid)}
        done = subprocess.run(
            ansible, cwd=project.root, env={**os.environ, **own}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert (tmp_path / "written").exists() is (code == 0)


def test_a_plan_without_a_terminal_changes_nothing(make_project: Make, tmp_path: Path) -> None:
    project = make_project(
        f"    - {{name: Write, ansible.builtin.copy: {{content: new, dest: {tmp_path}/written, mode: '0600'}}}}\n"
    )
    code, out, err = end(start(project, "apply", "--plan"))
    assert code == 0, err
    assert "+new" in out
    assert "--yes" in err
    assert not (tmp_path / "written").exists()
    code, _, _ = end(start(project, "apply", "--plan", "--yes"))
    assert code == 0
    assert (tmp_path / "written").read_text() == "new"


def test_a_hidden_question_is_not_waited_for(make_project: Make) -> None:
    project = make_project("""\
    - {name: Ask, ansible.builtin.pause: {prompt: Type gpu3 to go on}, register: said, run_once: true}
    - {name: Judge, ansible.builtin.assert: {that: said.user_input == 'gpu3', quiet: true}}
""")
    code, out, _ = end(start(project, "apply"))
    assert code == 1
    assert "Judge" in out


def test_host_keys_are_checked_as_the_project_says(make_project: Make) -> None:
    told = "{{ lookup('config', 'HOST_KEY_CHECKING') }}"
    tasks = f'    - {{name: Tell, ansible.builtin.debug: {{msg: "{told}"}}, run_once: true}}\n'
    code, out, _ = end(start(make_project(tasks), "apply"))
    assert code == 0
    assert "  True" in out.splitlines()


def test_wrong_command_lines_and_places(make_project: Make, tmp_path: Path) -> None:
    project = make_project("    - {name: Nothing, ansible.builtin.debug: }\n")
    assert end(start(project, "apply", "--frobnicate"))[0] == 2
    code, _, err = end(start(project, "drain", "gpu3"))
    assert (code, "--yes" in err) == (2, True)
    code, _, err = end(start(project, "add-node", "gpu3", "--gpu"))
    assert (code, "give --address too" in err) == (2, True)
    code, _, err = end(start(project, "apply", "--project", str(tmp_path)))
    assert (code, "site.yml beside ansible.cfg" in err) == (2, True)
    code, _, err = end(start(project, "apply", "-e", f"{SECRET}"))
    assert code == 2
    (project.root / "deep").mkdir()
    assert end(start(Project(project.root / "deep", project.inventory), "runs", "list"))[0] == 0
