"""What Ansible's workers are with our ansible.cfg."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from rendering import run_play

LOOKUP = """\
import gc
from ansible.plugins.lookup import LookupBase
class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        return [gc.isenabled()]
"""


def test_workers_collect_no_garbage(tmp_path: Path) -> None:
    (tmp_path / "collects.py").write_text(LOOKUP)
    told = {"ansible.builtin.debug": {"msg": "collects: {{ lookup('collects') }}"}}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [told]}]))
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"here": {"ansible_connection": "local"}}}}))
    done = run_play(tmp_path / "hosts.json", tmp_path / "play.yml", ANSIBLE_LOOKUP_PLUGINS=str(tmp_path))
    assert "collects: false" in done.stdout.lower(), done.stdout + done.stderr
