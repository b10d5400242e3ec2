"""The hosts, for pyinfra: as bench/desired.py has written them into the folder that DESIRED names."""

import json
import os
from pathlib import Path

FOLDER = Path(os.environ["DESIRED"])
CLUSTER = json.loads((FOLDER / "cluster.json").read_text())

hosts = [
    (
        name,
        {
            "ssh_hostname": host["address"],
            "ssh_user": host["user"],
            "ssh_key": host["key"],
            "ssh_known_hosts_file": host["known_hosts"],
            "ssh_strict_host_key_checking": "yes",
            "_sudo": True,
            "_sudo_password": host["sudo_password"] or None,
            "desired": FOLDER / f"{name}.json",
        },
    )
    for name, host in json.loads((FOLDER / "hosts.json").read_text()).items()
]
manager = ([CLUSTER["manager"]], {"cluster": FOLDER / "cluster.json"})
