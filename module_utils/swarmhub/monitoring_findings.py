"""What is wrong with what the user wrote about monitoring."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator
from urllib.parse import urlsplit

from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding

if t.TYPE_CHECKING:
    from ansible.module_utils.swarmhub.inventory import Inventory

#: One number and a unit, of all that Prometheus takes as a duration.
RETENTION = re.compile(r"[1-9]\d*[hdwy]")


def check_settings(inventory: Inventory) -> Iterator[Finding]:
    """A retention or a receiver that is none, and a receiver without a host that would tell it anything."""
    retention, webhook = (inventory.settings[f"monitoring_{name}"] for name in ("retention", "alert_webhook"))
    if not RETENTION.fullmatch(retention):
        cure = "write a number with h, d, w or y, such as 30d"
        yield Finding(f"{retention!r} is no span of time", cure, "monitoring_retention", file=VARIABLES_FILE)
    if not webhook:
        return
    # What it is may be a secret of the receiver's, and is not repeated here.
    if urlsplit(webhook).scheme not in ("http", "https") or not urlsplit(webhook).netloc:
        cure = "write http://host:port/path or https://…"
        yield Finding("is no address", cure, "monitoring_alert_webhook", file=VARIABLES_FILE)
    if not inventory.groups.get("monitoring_server"):
        cure = "put a host under monitoring_server, or drop it"
        what = "is given, and no host would send alerts"
        yield Finding(what, cure, "monitoring_alert_webhook", file=VARIABLES_FILE)
