#!/usr/bin/python
"""Ansible module: a host's membership in a Docker swarm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_member
short_description: Bring a host into one particular Docker swarm, or take it out
description:
  - Makes the engine of this host an active member of the wanted cluster, founding the cluster where there is none.
  - Membership is judged by cluster id. A host that is in another cluster is refused and both ids are named.
  - A setting of the cluster that is not given stays as it is.
  - A join that outlives the engine's own patience is waited for. An attempt that never got a node id is begun anew.
  - Uses C(GET /info), C(POST /swarm/init), C(POST /swarm/join), C(POST /swarm/leave), C(POST /swarm/unlock),
    C(GET /swarm), C(POST /swarm/update), C(GET /swarm/unlockkey), C(GET /nodes) and C(GET /containers/json) of the
    Docker Engine API.
author: swarmhub contributors
options:
  state:
    description:
      - V(present) joins or founds.
      - V(absent) leaves. Refused while tasks of the swarm run on the host, and for a manager while anybody else is in
        its swarm. Drain and demote it first, with M(swarm_nodes), which also removes the entry that stays behind.
    type: str
    choices: [present, absent]
    default: present
  role:
    description:
      - The role that the host is to have. Only a V(manager) without O(cluster_id) and O(remote_addrs) founds a swarm.
      - A member with the other role is reported with a warning and in RV(role), not changed.
        Roles are changed by M(swarm_nodes) on a manager.
      - Required with O(state=present).
    type: str
    choices: [manager, worker]
  cluster_id:
    description:
      - Id of the cluster that the host must be in.
      - Empty for the first manager of a new cluster, and then any cluster that the host is already in is accepted.
    type: str
    default: ""
  move:
    description:
      - Whether a host that is in another cluster than O(cluster_id) leaves that one and joins.
        The same is refused as with O(state=absent).
    type: bool
    default: false
  remote_addrs:
    description: Addresses of managers, as C(host) or C(host:port). Those that answer are used, in the order given.
    type: list
    elements: str
    default: []
  join_token:
    description: Join token of the wanted role. Not needed when the host is a member already, nor in check mode.
    type: str
  advertise_addr:
    description: Address or interface under which the other nodes reach this one. Empty lets the engine choose.
    type: str
  listen_addr:
    description: Address and port on which a manager listens.
    type: str
    default: 0.0.0.0:2377
  data_path_addr:
    description: Address or interface for the traffic of overlay networks, if not O(advertise_addr).
    type: str
  data_path_port:
    description: UDP port of the overlay networks. A swarm keeps it for life, so a difference is refused.
    type: int
  default_addr_pool:
    description: CIDRs out of which overlay networks are made. A swarm keeps them for life, so a difference is refused.
    type: list
    elements: str
  subnet_size:
    description:
      - Mask length of the networks cut from O(default_addr_pool). A swarm keeps it for life.
      - A new swarm gets 24 where nothing is given, as from the engine's own command line.
    type: int
  dispatcher_heartbeat:
    description: Seconds between two heartbeats of a node. A node is Down after about three were missed.
    type: int
  task_history_limit:
    description: Number of old tasks that the swarm remembers for each slot.
    type: int
  autolock:
    description: Whether a restarted manager stays locked until somebody brings the unlock key.
    type: bool
  unlock_key:
    description: Unlock key of the cluster, for a manager that is locked after a restart of its engine.
    type: str
  return_tokens:
    description:
      - Return the join tokens, and the unlock key, when the host is a manager.
      - Set C(no_log) on the task, and ask a manager that joined before.
        Ansible censors a token that the same call was given as O(join_token).
    type: bool
    default: false
  force:
    description: With O(state=absent), leave even where tasks run or others depend on this manager. Never implied.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for a join or leave to come through.
    type: int
    default: 60
  docker_host:
    description:
      - URL of the engine's socket.
      - The engine must be local, since a worker's cluster id is read from its data directory.
    type: str
    default: unix:///var/run/docker.sock
attributes:
  check_mode:
    description: Predicts the real run and changes nothing.
    support: full
  diff_mode:
    description: Shows membership and cluster settings before and after.
    support: full
  idempotent:
    description: The second run changes nothing.
    support: full
requirements: [python3-docker on the host]
"""

EXAMPLES = r"""
- name: Found the swarm on the first manager
  swarm_member:
    role: manager
    advertise_addr: 192.168.1.10
    default_addr_pool: [10.20.0.0/16]
    dispatcher_heartbeat: 5
    return_tokens: true
  no_log: true
  register: first

- name: Let a worker join that swarm and no other
  swarm_member:
    role: worker
    cluster_id: "{{ first.cluster_id }}"
    remote_addrs: "{{ first.managers }}"
    join_token: "{{ first.join_tokens.worker }}"
    advertise_addr: 192.168.1.21

- name: Take a drained worker out
  swarm_member:
    state: absent
"""

RETURN = r"""
state:
  description: C(active), or the state that was found, in check mode and with O(state=absent).
  type: str
  returned: success
node_id:
  description: Id of the host's node. Empty where check mode found none.
  type: str
  returned: success
cluster_id:
  description: Id of the cluster that the host is in. Empty where check mode found none.
  type: str
  returned: success
role:
  description: The role that the node has, C(manager) or C(worker). Empty where check mode found no membership.
  type: str
  returned: success
address:
  description: The address that the node advertises.
  type: str
  returned: success
managers:
  description: Addresses of the managers, ready for O(remote_addrs) of the next host.
  type: list
  elements: str
  returned: success
  sample: ["192.168.1.10:2377"]
join_tokens:
  description: C(worker), C(manager) and C(unlock_key). Empty strings where they do not exist, or not yet.
  type: dict
  returned: with O(return_tokens=true) and O(state=present)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.engine import DEFAULT_DOCKER_HOST, DockerEngine, EngineError
from ansible.module_utils.swarmhub.member import absent, present
from ansible.module_utils.swarmhub.swarm import Refused


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "role": {"type": "str", "choices": ["manager", "worker"]},
            "cluster_id": {"type": "str", "default": ""},
            "move": {"type": "bool", "default": False},
            "remote_addrs": {"type": "list", "elements": "str", "default": []},
            "join_token": {"type": "str", "no_log": True},
            "advertise_addr": {"type": "str"},
            "listen_addr": {"type": "str", "default": "0.0.0.0:2377"},
            "data_path_addr": {"type": "str"},
            "data_path_port": {"type": "int"},
            "default_addr_pool": {"type": "list", "elements": "str"},
            "subnet_size": {"type": "int"},
            "dispatcher_heartbeat": {"type": "int"},
            "task_history_limit": {"type": "int"},
            "autolock": {"type": "bool"},
            "unlock_key": {"type": "str", "no_log": True},
            "return_tokens": {"type": "bool", "default": False, "no_log": False},
            "force": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
            "docker_host": {"type": "str", "default": DEFAULT_DOCKER_HOST},
        },
        required_if=[("state", "present", ["role"])],
        supports_check_mode=True,
    )
    settle = present if module.params["state"] == "present" else absent
    try:
        result = settle(DockerEngine(module.params["docker_host"]), module.params, check_mode=module.check_mode)
    except (EngineError, Refused) as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
