#!/usr/bin/python
"""Thin entry point; the logic is in module_utils/swarmhub/served_certificate.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: served_certificate
short_description: See that this host shows a certificate to those who come
description:
  - Compares the certificate that is shown at a port with the one that should be, by its fingerprint. Whether it is
    valid is another question.
options:
  port: {description: A port of this host where TLS is spoken., type: int, required: true}
  certificate: {description: "The certificate, with its chain or without (PEM).", type: str, required: true}
  timeout: {description: Seconds to wait for it., type: float, default: 10}
attributes:
  check_mode: {description: It never changes anything., support: full}
author: The swarmhub authors
"""

EXAMPLES = r"""
- name: See that the renewed certificate is shown
  served_certificate:
    port: 443
    certificate: "{{ lookup('ansible.builtin.file', '/etc/ssl/hub.pem') }}"
"""

RETURN = r"""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.served_certificate import fault


def main() -> None:
    """Run the module."""
    arguments = {
        "port": {"type": "int", "required": True},
        "certificate": {"type": "str", "required": True},
        "timeout": {"type": "float", "default": 10},
    }
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    try:
        found = fault(module.params["port"], module.params["certificate"], module.params["timeout"])
    except ValueError as error:
        module.fail_json(msg=f"certificate: {error}")
    if found:
        module.fail_json(msg=f"it {found}")
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
