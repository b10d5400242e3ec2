#!/usr/bin/python
"""Ansible module: for how long hub and proxy did not answer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_outage
short_description: Measure for how long a JupyterHub and its proxy do not answer while something else is done to them
description:
  - Asks both again and again until O(stop_file) exists, and adds up the times without an answer. Meant for C(async).
  - The proxy answers when anything comes back at all, the hub when its C(hub/health) does.
options:
  url:
    description: The hub's public address, with a path if the hub has one.
    type: str
    required: true
  stop_file:
    description: A file whose appearance ends the measurement.
    type: path
    required: true
  ca_paths:
    description: PEM files of certificates to trust besides the controller's own.
    type: list
    elements: path
    default: []
  timeout:
    description: Seconds after which it ends in any case.
    type: int
    default: 1800
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
author: swarmhub contributors
"""

EXAMPLES = r"""
- name: Measure while the hub is replaced
  hub_outage:
    url: http://192.0.2.10:8000
    stop_file: /tmp/replaced
  async: 1800
  poll: 0
  delegate_to: localhost
"""

RETURN = r"""
proxy: {description: Seconds without an answer of the proxy., returned: success, type: float}
hub: {description: Seconds without an answer of the hub., returned: success, type: float}
"""

import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.probe_session import HubError, tls_context

INTERVAL = 0.2
PATIENCE = 2


def answers(url: str, tls: ssl.SSLContext) -> tuple[bool, bool]:
    """Return whether proxy and hub answer."""
    try:
        urllib.request.urlopen(f"{url.rstrip('/')}/hub/health", timeout=PATIENCE, context=tls).close()
    except urllib.error.HTTPError:
        return True, False
    except OSError:
        return False, False
    return True, True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "stop_file": {"type": "path", "required": True},
            "ca_paths": {"type": "list", "elements": "path", "default": []},
            "timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    try:
        tls = tls_context(module.params["ca_paths"], validate=True)
    except HubError as error:
        module.fail_json(msg=str(error))
    stop_file = Path(module.params["stop_file"])
    deadline = time.monotonic() + module.params["timeout"]
    silent = {"proxy": 0.0, "hub": 0.0}
    last = time.monotonic()
    while not stop_file.exists() and last < deadline:
        found = dict(zip(silent, answers(module.params["url"], tls), strict=True))
        time.sleep(INTERVAL)
        now = time.monotonic()
        for each, answered in found.items():
            silent[each] += 0 if answered else now - last
        last = now
    module.exit_json(changed=False, **{each: round(seconds, 1) for each, seconds in silent.items()})


if __name__ == "__main__":
    main()
