"""Services like the hub's notebooks, made straight through the Engine API; for bench/users.py, in the hub's container.

python3 -c … PATTERN COUNT PER_SECOND SLOTS    prints the seconds that each took, as JSON
"""

from __future__ import annotations

import json
import sys
import threading
import time
import typing as t
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import docker

LABEL = "swarmhub.bench"
PLACED_SECONDS = 10  # for which the hub, too, lets nobody else through
LIMIT = 600


class Floor:
    """Makes services after the pattern of one that runs."""

    def __init__(self, pattern: str, slots: int) -> None:
        """``slots``: how many are made and placed at the same time."""
        self._engine = docker.APIClient()
        service = self._engine.inspect_service(pattern)
        self._spec = service["Spec"]
        self._network = self._spec["TaskTemplate"]["Networks"][0]["Target"]
        environment = dict(each.split("=", 1) for each in self._spec["TaskTemplate"]["ContainerSpec"]["Env"])
        self._path = environment["JUPYTERHUB_SERVICE_PREFIX"] + "api"
        self._slots = threading.Semaphore(slots)
        self._tasks: dict[str, dict[str, t.Any]] = {}
        self._watching = threading.Event()

    def watch(self) -> None:
        """Keep what the swarm says of all tasks, until the end."""
        while not self._watching.wait(0.5):
            self._tasks = {task["ServiceID"]: task for task in self._engine.tasks()}

    def seconds(self, number: int, begin: float) -> float:
        """Make one at ``begin`` (of time.monotonic); return how long it took until it answered."""
        time.sleep(max(0.0, begin - time.monotonic()))
        name = f"floor-{number}"
        template = self._spec["TaskTemplate"]
        container = {**template["ContainerSpec"], "Labels": {LABEL: name}}
        with self._slots:
            made = self._engine.create_service(
                {**template, "ContainerSpec": container},
                name=name,
                labels={LABEL: name},
                endpoint_spec=self._spec["EndpointSpec"],
            )
            placed = time.monotonic() + PLACED_SECONDS
            while time.monotonic() < placed and "NodeID" not in self._tasks.get(made["ID"], {}):
                time.sleep(0.1)
        while time.monotonic() - begin < LIMIT:
            state = self._tasks.get(made["ID"], {}).get("Status", {}).get("State")
            if state in ("failed", "rejected"):
                raise RuntimeError(f"{name}: {self._tasks[made['ID']]['Status']}")
            if state == "running" and self._answers(name):
                return time.monotonic() - begin
            time.sleep(0.2)
        raise RuntimeError(f"{name}: no answer within {LIMIT} s")

    def _answers(self, name: str) -> bool:
        try:
            urllib.request.urlopen(f"http://{name}:8888{self._path}", timeout=5).close()
        except OSError:
            return False
        return True

    def end(self) -> None:
        """Remove what was made."""
        self._watching.set()
        for service in self._engine.services(filters={"label": LABEL}):
            self._engine.remove_service(service["ID"])


def main() -> None:
    """See the module."""
    pattern, count, per_second, slots = sys.argv[1], *map(int, sys.argv[2:5])
    floor = Floor(pattern, slots)
    threading.Thread(target=floor.watch, daemon=True).start()
    begin = time.monotonic() + 1
    try:
        with ThreadPoolExecutor(count) as pool:
            taken = list(pool.map(lambda n: floor.seconds(n, begin + n / per_second), range(count)))
    finally:
        floor.end()
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
