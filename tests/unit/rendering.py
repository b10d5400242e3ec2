"""Plays on a machine where nothing is done, and variables of roles, rendered by Ansible itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_play(
    inventory: Path | str, play: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a play from the project's root, with the project's settings and a further ``environment``."""
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, play, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", **environment},
    )


def render(
    folder: Path,
    inventory: t.Mapping[str, t.Any],
    roles: t.Iterable[str],
    shown: t.Mapping[str, str],
    facts: t.Iterable[t.Mapping[str, str]] = (),
    **play: t.Any,
) -> dict[str, t.Any]:
    """Return ``{host: shown}``.

    Args:
        folder: an empty one to work in.
        inventory: as an inventory file has it; its hosts are those of the one group that has any.
        roles: those whose variables are needed.
        shown: what to render.
        facts: facts to set first, one task each.
        play: further keywords of the play, such as ``vars``.
    """
    copy = {"dest": f"{folder}/out-{{{{ inventory_hostname }}}}", "mode": "0600", "content": "{{ shown | to_json }}"}
    tasks = [
        *({"ansible.builtin.set_fact": fact} for fact in facts),
        {"ansible.builtin.copy": copy, "vars": {"shown": shown}},
        # Imported, not included: their variables are there for the tasks before them.
        *({"ansible.builtin.import_role": {"name": role}, "when": False} for role in roles),
    ]
    whole = {"hosts": "all", "gather_facts": False, "connection": "local", **play, "tasks": tasks}
    (folder / "play.yml").write_text(json.dumps([whole]))
    (folder / "hosts.json").write_text(json.dumps(inventory))
    done = run_play(folder / "hosts.json", folder / "play.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.name.removeprefix("out-"): json.loads(path.read_text()) for path in folder.glob("out-*")}
