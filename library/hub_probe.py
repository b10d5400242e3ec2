#!/usr/bin/python
"""Walk a user's path through a running hub; the logic is in module_utils/swarmhub/probe.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_probe
short_description: A user's path through a JupyterHub, walked and reported step by step
description:
  - Signs in as a person would, and for each profile starts a server, runs code in a kernel over its websocket, looks at
    the cards and tokens that the kernel sees, writes a file, stops, starts again on another node and finds the file.
  - It stops the servers that it starts and removes its file, also when a step fails, so it never reports a change.
  - Runs on the controller, with the Python libraries C(httpx) and C(websockets).
  - In check mode it signs in and starts nothing.
options:
  url:
    description: The hub's public address, with a path if the hub has one.
    type: str
    required: true
  username:
    description:
      - The account to probe with. It is refused when it has a server running, since that is somebody's work.
      - C(swarmhub-probe) is the exception; what a killed run of it has left is stopped first.
    type: str
    default: swarmhub-probe
  password:
    description: The account's password for the sign-in page. Without it, O(api_token) is used for everything.
    type: str
  api_token:
    description:
      - A token with the scopes C(servers), C(read:users) and C(access:servers) for that account.
      - It chooses the second node, so it is needed wherever a profile fits more than one.
      - Without O(password) it makes the account C(swarmhub-probe) where that is missing (scope C(admin:users)), and
        looks whether people have a sign-in page.
    type: str
  profiles:
    description: What to probe.
    type: list
    elements: dict
    required: true
    suboptions:
      slug:
        description: The profile's slug.
        type: str
        required: true
      gpus:
        description: Cards that a server of this profile holds.
        type: int
        default: 0
      nodes:
        description: Host names of the nodes that the profile fits.
        type: list
        elements: str
        required: true
  start_timeout:
    description: Seconds that a server may take to become ready or to be gone, and a kernel to answer.
    type: float
    default: 300
  request_timeout:
    description: Seconds without a byte after which a request is given up.
    type: float
    default: 30
  validate_certs:
    description: Whether the hub's certificate has to be valid.
    type: bool
    default: true
  ca_paths:
    description: PEM files of certificates to trust besides the controller's own.
    type: list
    elements: path
    default: []
author:
  - The swarmhub authors
"""

EXAMPLES = r"""
- name: Walk a user's path through the hub
  hub_probe:
    url: http://192.0.2.10:8000
    password: "{{ lookup('ansible.builtin.file', inventory_dir + '/secrets/probe_password') }}"
    api_token: "{{ lookup('ansible.builtin.file', inventory_dir + '/secrets/api_token') }}"
    profiles:
      - slug: gpu
        gpus: 1
        nodes: [gpu1, gpu2]
  delegate_to: localhost
"""

RETURN = r"""
rows:
  description: One entry a step, also when the module fails.
  returned: always
  type: list
  elements: dict
  contains:
    profile: {description: "The profile's slug, empty for the sign-in.", type: str}
    step: {description: What was tried., type: str}
    outcome: {description: "C(passed), C(failed) or C(one node only).", type: str}
    seconds: {description: How long it took., type: float}
    detail: {description: What was seen; the hub's own words when it failed., type: str}
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.hub_arguments import hub_arguments
from ansible.module_utils.swarmhub.probe import Probe, Profile, Redactor, missing_library
from ansible.module_utils.swarmhub.probe_session import FormSession, HubError, Session, TokenSession, tls_context


def main() -> None:
    """Probe and leave with the rows."""
    module = AnsibleModule(
        argument_spec=hub_arguments(
            api_token={"type": "str", "no_log": True},
            username={"type": "str", "default": "swarmhub-probe"},
            password={"type": "str", "no_log": True},
            profiles={
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "slug": {"type": "str", "required": True},
                    "gpus": {"type": "int", "default": 0},
                    "nodes": {"type": "list", "elements": "str", "required": True},
                },
            },
            start_timeout={"type": "float", "default": 300},
            request_timeout={"type": "float", "default": 30},
            validate_certs={"type": "bool", "default": True},
        ),
        required_one_of=[("password", "api_token")],
        supports_check_mode=True,
    )
    given = module.params
    if missing := missing_library():
        module.fail_json(msg=missing, rows=[])
    try:
        tls = tls_context(given["ca_paths"], given["validate_certs"])
    except HubError as error:
        module.fail_json(msg=str(error), rows=[])
    options = {"start_timeout": given["start_timeout"], "request_timeout": given["request_timeout"], "tls": tls}

    admin = given["api_token"] and TokenSession(given["url"], given["username"], given["api_token"], **options)
    session: Session = admin
    if given["password"]:
        session = FormSession(given["url"], given["username"], given["password"], **options)

    probe = Probe(session, admin or None, Redactor(given["password"], given["api_token"]), predicts=module.check_mode)
    if probe.sign_in() and not module.check_mode:
        probe.run([Profile(**profile) for profile in given["profiles"]])
    rows = [dataclasses.asdict(row) for row in probe.rows]
    if failures := probe.failures():
        module.fail_json(msg=f"{given['url']}: {failures}", rows=rows)
    module.exit_json(changed=False, rows=rows)


if __name__ == "__main__":
    main()
