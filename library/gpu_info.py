#!/usr/bin/python
"""Thin entry point; the logic is in module_utils/swarmhub/gpus.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_info
short_description: The NVIDIA cards of a host, and what is wrong with them
description:
  - Asks C(nvidia-smi) once for the cards, and a second time only where a card is in MIG mode or does not answer.
  - It never fails because of a card or a driver. What is wrong is returned in RV(faults), each with a cure.
  - A call of C(nvidia-smi) that has not ended after 20 seconds is given up and is a fault as well.
options: {}
attributes:
  check_mode: {description: It never changes anything., support: full}
  diff_mode: {description: There is nothing to show., support: none}
author: The swarmhub authors
seealso:
  - name: nvidia-smi
    description: Its query fields and exit codes.
    link: https://docs.nvidia.com/deploy/nvidia-smi/
"""

EXAMPLES = r"""
- name: Look at the cards
  gpu_info:
  register: gpu

- name: Stop where the driver shows none
  ansible.builtin.assert:
    that: gpu.cards | length > 0
    fail_msg: "{{ gpu.faults | map(attribute='what') | join('; ') }}"
"""

RETURN = r"""
cards:
  description: The cards that answer, in the driver's order.
  returned: always
  type: list
  elements: dict
  contains:
    index: {description: Its number; may be another one after a reboot., type: int, sample: 0}
    uuid:
      description: Its UUID, the same for as long as the board lives.
      type: str
      sample: GPU-6b1c2f7e-0000-4000-8000-000000000001
    name: {description: Its model., type: str, sample: NVIDIA RTX A6000}
    memory_mb: {description: Its memory in MiB; 0 where the driver does not tell., type: int, sample: 49140}
    driver: {description: Version of the driver., type: str, sample: 570.86.15}
    bus: {description: Its PCI address as lspci writes it., type: str, sample: "0000:0b:00.0"}
    mig: {description: Whether it is in MIG mode., type: bool, sample: false}
    instances:
      description: Its MIG instances.
      type: list
      elements: dict
      contains:
        profile: {description: The instance's profile., type: str, sample: 1g.10gb}
        uuid: {description: The instance's UUID; another one each time it is made., type: str, sample: MIG-4416c2c4-…}
faults:
  description: What is wrong; empty when all is well.
  returned: always
  type: list
  elements: dict
  contains:
    card:
      description:
        - UUID of the card where anything still tells it, else its PCI address, else its number; none when it is about
          the driver as a whole.
      type: str
      sample: "0000:0b:00.0"
    what: {description: What is wrong., type: str, sample: does not answer (Unknown Error)}
    cure: {description: What to do about it., type: str, sample: reboot the host}
    reboot: {description: Whether a reboot usually mends it., type: bool, sample: true}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.gpus import read


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, **read())


if __name__ == "__main__":
    main()
