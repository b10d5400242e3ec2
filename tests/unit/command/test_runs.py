"""Real runs on this machine: exit codes, the lock, Ctrl-C, and what stays afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from swarmhub.project import Project

Make = t.Callable[[str], Project]
SECRET = "correct-horse-battery"
SLEEPING = """\
    - {name: Change something, ansible.builtin.command: echo, changed_when: true}
    - {name: Sleep, ansible.builtin.command: sleep 4, changed_when: false}
    - {name: Never reached, ansible.builtin.command: echo, changed_when: true}
"""


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from swarmhub.cli import app; app()", *arguments]
    pipe = subprocess.PIPE
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.Popen(
        command, cwd=project.root, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def wait_for(project: Project, task: str) -> None:
    """Wait until a run has begun this task on a host."""
    deadline = time.monotonic() + 30
    while not any('"start", "time"' in line and task in line for line in _lines(project)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lines(project: Project) -> list[str]:
    return [line for path in project.runs.glob("*/events.jsonl") for line in path.read_text().splitlines()]


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
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[-1]["outcome"] == "failed"
    assert lines[-1]["failures"][0]["message"] == "refused: •••"
    kept = [path for path in (project.root / ".swarmhub").rglob("*") if path.is_file()]
    assert {path.name for path in kept} == {"run.json", "events.jsonl"}
    assert not any(SECRET in path.read_text() for path in kept)
    assert SECRET not in out + err
    assert left(project) == []


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
    assert not any("Never reached" in line and '"host"' in line for line in _lines(project))
    assert sum('"ok"' in line and '"Sleep"' in line for line in _lines(project)) == 2
    assert left(project) == []


def test_ctrl_c_twice_ends_at_once(make_project: Make) -> None:
    project = make_project(SLEEPING.replace("sleep 4", "sleep 40"))
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


def test_a_killed_command_leaves_no_lock_and_no_artifacts_and_its_playbook_ends(make_project: Make) -> None:
    project = make_project(SLEEPING)
    run = start(project, "apply")
    wait_for(project, "Sleep")
    run.kill()
    run.communicate(timeout=60)
    assert len(left(project)) == 1, "a killed command cannot clean up"
    code, out, err = end(start(project, "apply"))
    assert code == 0, out + err
    assert left(project) == []
    code, out, _ = end(start(project, "runs", "list", "--json"))
    assert [run["outcome"] for run in json.loads(out)] == ["well", "killed"]
    # Had it gone on, its last task would have been recorded by nobody, but run: this machine has no such process.
    assert not any(str(project.root) in line for line in _processes())


def _processes() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


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
    code, _, err = end(start(project, "apply", "--project", str(tmp_path)))
    assert (code, "site.yml beside ansible.cfg" in err) == (2, True)
    code, _, err = end(start(project, "apply", "-e", f"{SECRET}"))
    assert code == 2
    (project.root / "deep").mkdir()
    assert end(start(Project(project.root / "deep", project.inventory), "runs", "list"))[0] == 0
