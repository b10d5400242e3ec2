"""The NVIDIA driver of a host: what is to be installed, and what only a reboot brings about."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.module_utils.swarmhub.differences import package_name
from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding

if t.TYPE_CHECKING:  # looks has our rule among its own
    from ansible.module_utils.swarmhub.inventory import Inventory

Look = Mapping[str, t.Any]

# Release names of Debian's own kernels, such as 6.12.43+deb13-amd64 or 6.12.43+deb13-cloud-amd64.
KERNEL_FLAVOUR = re.compile(r"\d.*?-((?:[a-z]+-)?(?:amd64|arm64))")
# Ubuntu's have the driver's number in their names.
DEBIANS_PACKAGES = frozenset({"nvidia-driver", "nvidia-kernel-dkms", "nvidia-smi"})
NOT_LOADED = "the driver was installed after the last boot and shows no card yet"


def header_packages(kernel: str) -> list[str]:
    """Return the packages with the headers of a Debian kernel and of its successors; none for any other kernel."""
    match = KERNEL_FLAVOUR.fullmatch(kernel)
    return [f"linux-headers-{kernel}", f"linux-headers-{match[1]}"] if match else []


def is_fresh(look: Look, packages: Iterable[str]) -> bool:
    """Tell whether any of these packages (a version may be named) was installed or replaced since the host booted."""
    found = look.get("packages", {})
    return any(found[name]["since"] > look["booted"] for name in map(package_name, packages) if name in found)


def reboot_reasons(look: Look, packages: Iterable[str], exclude: Iterable[str] = ()) -> list[str]:
    """Return what a reboot would mend: faults of cards that say so, and a fresh driver (``packages``) without cards.

    For a card that nobody gets (``exclude``: UUIDs) nothing is rebooted, nor held back.
    """
    nobodys = set(exclude)
    faults = [
        f"card {fault['card']} {fault['what']}" if fault["card"] else fault["what"]
        for fault in look.get("card_faults", [])
        if fault["reboot"] and fault["card"] not in nobodys
    ]
    return faults + ([NOT_LOADED] if not look.get("cards") and is_fresh(look, packages) else [])


def wanted(inventory: Inventory, host: str) -> list[str]:
    """Return the names of the driver's packages that are to be on a host, none unless ``gpu_driver`` asks for them."""
    variables = {**inventory.settings, **inventory.hosts[host]}
    asked = boolean(variables["gpu_driver"], strict=False)
    return [package_name(each) for each in variables["gpu_driver_packages"] or []] if asked else []


def cards_are_to_come(inventory: Inventory, host: str, look: Look) -> bool:
    """Tell whether this run installs the driver, or has installed one that waits for its first boot."""
    packages = wanted(inventory, host)
    missing = any(name not in look["packages"] for name in packages)
    return not look["cards"] and (missing or is_fresh(look, packages))


def check_driver(inventory: Inventory, looks: Mapping[str, Look]) -> Iterator[Finding]:
    """Hosts on which the driver that is to be installed cannot be found, or cannot be built."""
    for host in inventory.groups.get("gpu_workers", []):
        look = looks.get(host)
        if look is None or all(name in look["packages"] for name in wanted(inventory, host)):
            continue
        if look["distribution"]["id"] != "debian":
            # Ubuntu has drivers in its ordinary sources, built, under names of its own.
            if DEBIANS_PACKAGES.intersection(wanted(inventory, host)):
                cure = "name Ubuntu's, such as nvidia-headless-570-server and nvidia-utils-570-server"
                yield Finding("names Debian's packages", cure, "gpu_driver_packages", host, VARIABLES_FILE)
            continue
        if "non-free" not in look["components"] and not inventory.settings["host_package_mirror"]:
            cure = "add contrib, non-free and non-free-firmware to them, or set host_package_mirror"
            yield Finding("is in component non-free, which its package sources lack", cure, "gpu_driver", host)
        if not header_packages(look["kernel"]):
            what = f"is built for the kernel, and {look['kernel']} is none of Debian's"
            yield Finding(what, "install that kernel's headers", "gpu_driver", host, severity="warning")
