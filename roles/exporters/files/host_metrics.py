#!/usr/bin/env python3
"""What prometheus-node-exporter does not know of a host: its cards, and its backups.

host_metrics.py [--cards] [--backups] FILE    writes FILE whole, as its textfile collector reads it

A timer starts this, as root. Beside it is module_utils/swarmhub/gpus.py, which asks the driver.
"""

from __future__ import annotations

import argparse
import json
import re
import typing as t
from pathlib import Path

LAST_BACKUP = Path("/var/lib/swarmhub-backup/last.json")
#: What systemd touches when the timer elapses (systemd.timer(5), Persistent), and when it starts for the first time.
BACKUP_STAMP = Path("/var/lib/systemd/timers/stamp-swarmhub-backup.timer")
FIELDS = ("uuid", "utilization.gpu", "memory.used", "temperature.gpu")
MIB = 2**20

Values = list[tuple[dict[str, str], float]]
Metrics = dict[str, Values]


def text(metrics: Metrics) -> str:
    """Return metrics as Prometheus reads them; all are gauges."""
    lines = []
    for name, values in metrics.items():
        lines.append(f"# TYPE {name} gauge")
        for labels, value in values:
            # In JSON's strings are the escapes that Prometheus knows.
            pairs = ",".join(f"{key}={json.dumps(label, ensure_ascii=False)}" for key, label in labels.items())
            lines.append(f"{name}{{{pairs}}} {value:.15g}")
    return "\n".join([*lines, ""])


def cards(read: t.Callable[[], t.Any], ask: t.Callable[..., t.Any]) -> Metrics:
    """Return what the driver tells of its cards.

    Args:
        read, ask: those of module gpus.
    """
    seen = read()
    models = {card["uuid"]: card["name"] for card in seen["cards"]}
    found: Metrics = {
        "swarmhub_card_memory_bytes": [
            ({"uuid": card["uuid"], "model": card["name"]}, card["memory_mb"] * MIB) for card in seen["cards"]
        ],
        "swarmhub_card_fault": [
            ({"uuid": fault["card"] or "", "what": fault["what"], "cure": fault["cure"]}, 1) for fault in seen["faults"]
        ],
    }
    asked = f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"
    output = ask(f"--id={','.join(models)}", *asked).output if models else ""
    for line in output.splitlines():
        uuid, *values = (cell.strip() for cell in line.split(","))
        if uuid not in models or len(values) != len(FIELDS) - 1:
            continue
        for name, value, unit in zip(
            ("utilization_ratio", "memory_used_bytes", "temperature_celsius"), values, (0.01, MIB, 1), strict=True
        ):
            # What a card does not measure is "[N/A]".
            if re.fullmatch(r"\d+(\.\d+)?", value):
                labels = {"uuid": uuid, "model": models[uuid]}
                found.setdefault(f"swarmhub_card_{name}", []).append((labels, float(value) * unit))
    return found


def backups(last: Path = LAST_BACKUP, stamp: Path = BACKUP_STAMP) -> Metrics:
    """Return when the last backup began and whether it is whole, and when one was due last.

    While one is being made it is not whole. A time is 0 where there was none.
    """
    outcome: dict[str, t.Any] = json.loads(last.read_text()) if last.exists() else {"begun": 0, "error": ""}
    return {
        "swarmhub_backup_begun_timestamp_seconds": [({}, outcome["begun"])],
        "swarmhub_backup_whole": [({}, not outcome["error"])],
        "swarmhub_backup_due_timestamp_seconds": [({}, stamp.stat().st_mtime if stamp.exists() else 0)],
    }


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cards", action="store_true")
    parser.add_argument("--backups", action="store_true")
    parser.add_argument("file", type=Path)
    wanted = parser.parse_args()
    found: Metrics = {}
    if wanted.cards:
        import gpus  # type: ignore[import-not-found] # its neighbour on the host

        found |= cards(gpus.read, gpus.ask)
    if wanted.backups:
        found |= backups()
    new = wanted.file.with_suffix(".new")
    new.write_text(text(found))
    new.chmod(0o644)
    new.replace(wanted.file)


if __name__ == "__main__":
    main()
