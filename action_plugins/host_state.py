"""Sends the look to a host as one program on the standard input of its Python, and takes what it found for facts.

A module of Ansible brings its library along and unpacks it on the host, which takes longer than the look itself: 40
hosts on two cores took 15 to 19 s for ``ping``, and 5 s for a command of the shell.
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

LOGIC = Path(__file__).resolve().parents[1] / "module_utils" / "swarmhub"
#: What the look is made of, each after those that it imports.
MODULES = ("engine", "swarm", "gpus", "boot_state", "host_state")

#: library/host_state.py explains them.
ARGUMENTS = {
    "names": {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            kind: {"type": "list", "elements": "str", "default": []}
            for kind in ("packages", "files", "units", "sysctls")
        },
    },
    "candidates": {"type": "list", "elements": "str", "default": []},
    "kernel_modules": {"type": "list", "elements": "str", "default": []},
    "secrets_dir": {"type": "str", "no_log": False},
    "cards": {"type": "bool", "default": False},
    "exports": {"type": "str"},
    "file_systems": {"type": "list", "elements": "str", "default": []},
    "firewall": {
        "type": "dict",
        "options": {
            "chains": {"type": "str", "required": True},
            "loaded": {"type": "str", "required": True},
            "written": {"type": "list", "elements": "str", "required": True},
        },
    },
    "postgres": {
        "type": "dict",
        "options": {"database": {"type": "str", "required": True}, "role": {"type": "str", "required": True}},
    },
}

PROGRAM = """\
import json, sys, types
asked, sources = json.loads({given!r})
package = None
for name in "ansible", "ansible.module_utils", "ansible.module_utils.swarmhub":
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = []
for name, source in sources.items():
    module = sys.modules[package.__name__ + "." + name] = types.ModuleType(package.__name__ + "." + name)
    setattr(package, name, module)
    exec(compile(source, name + ".py", "exec"), module.__dict__)
print()
print(json.dumps(package.host_state.answer(asked)))
"""


def program(asked: t.Mapping[str, t.Any]) -> str:
    """Return the whole look as a program; it prints what host_state.answer returns on its last line."""
    sources = {name: (LOGIC / f"{name}.py").read_text(encoding="utf-8") for name in MODULES}
    return PROGRAM.format(given=json.dumps([asked, sources]))


class ActionModule(ActionBase):
    """Ansible's entry point."""

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Look at the host; return the facts."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(ARGUMENTS)
        asked = {**arguments, **arguments.pop("names")}
        python = self._templar.template((task_vars or {}).get("ansible_python_interpreter", "/usr/bin/python3"))
        done = self._low_level_execute_command(f"{python} -", in_data=program(asked).encode())
        try:
            found = json.loads(done["stdout"].strip().rpartition("\n")[2])
        except ValueError as error:
            said = "\n".join(filter(None, (done["stderr"].strip(), done["stdout"].strip()))) or "nothing"
            what = f"the look with {python} ended with status {done['rc']} and said: {said}"
            raise AnsibleActionFail(what) from error
        if "fault" in found:
            raise AnsibleActionFail(f"the host cannot be looked at: {found['fault']}")
        state = found["state"]
        facts = {"node_state": state, "swarm_node_id": state["swarm"].get("node_id", "")}
        return {**result, "changed": False, "ansible_facts": facts}
