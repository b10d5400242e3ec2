"""Which hosts a lab has."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace

from .state import LAB_ID


@dataclass(frozen=True)
class Host:
    """One host of the lab; `number` is the last number of its address.

    A `light` one is a copy of a CPU worker as it is, engine and all, but for what makes it that worker; it takes no
    notebooks, so it needs no image. Forty of them show what many hosts cost.
    """

    name: str
    number: int
    groups: tuple[str, ...]
    cards: int = 0
    card_model: str = "NVIDIA RTX A6000"
    driver: bool = True  # machines with cards usually come with it
    hostname: str = ""
    sudo_password: bool = False
    suite: str = "trixie"
    light: bool = False

    @property
    def uuids(self) -> list[str]:
        """The UUIDs of its stand-in cards: the same ones as long as the clone stays where it is."""
        space = uuid.uuid5(uuid.NAMESPACE_DNS, LAB_ID)
        return [f"GPU-{uuid.uuid5(space, f'{self.name}/{index}')}" for index in range(self.cards)]

    @property
    def image_archive(self) -> bool:
        """Whether images are built here, which needs a base image to start from."""
        return "managers" in self.groups


@dataclass(frozen=True)
class Layout:
    """The hosts of a lab, and whether each runs a kernel of its own (user-mode Linux) or is a container.

    `spares` are there only once somebody has asked for them.
    """

    hosts: tuple[Host, ...]
    kernels: bool = False
    spares: tuple[Host, ...] = ()

    def with_spares(self, names: Collection[str]) -> Layout:
        """The layout with these of its spares as hosts like all others."""
        return replace(self, hosts=(*self.hosts, *(host for host in self.spares if host.name in names)))


LAYOUTS = {
    "default": Layout(
        (
            Host("mgr1", 11, ("managers", "postgres_server", "registry_server", "monitoring_server")),
            # An inventory name need not be the host's own.
            Host("cpu1", 12, ("cpu_workers",), hostname="worker-a"),
            Host("gpu1", 13, ("gpu_workers",), cards=2),
            Host("gpu2", 14, ("gpu_workers",), cards=4, card_model="NVIDIA GeForce RTX 3090", sudo_password=True),
        ),
        spares=(
            Host("gpu3", 15, ("gpu_workers",), cards=2),
            *(Host(f"light{index:02}", 20 + index, ("cpu_workers",), light=True) for index in range(1, 37)),
        ),
    ),
    "single": Layout((Host("one", 11, ("managers", "gpu_workers", "postgres_server", "monitoring_server"), cards=2),)),
    "ha": Layout(
        (
            Host("mgr1", 11, ("managers",)),
            Host("mgr2", 12, ("managers",)),
            Host("mgr3", 13, ("managers",)),
            Host("store1", 14, ("postgres_server", "registry_server")),
            Host("cpu1", 15, ("cpu_workers",)),
            Host("gpu1", 16, ("gpu_workers",), cards=2),
        )
    ),
    "kernel": Layout(
        (
            Host("mgr1", 11, ("managers", "nfs_server", "postgres_server")),
            # Debian 12's engine is too old for cards, and good for the rest.
            Host("cpu1", 12, ("cpu_workers",), suite="bookworm"),
            Host("gpu1", 13, ("gpu_workers",), cards=2),
        ),
        kernels=True,
    ),
}
