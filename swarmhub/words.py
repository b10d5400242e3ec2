"""Texts that several views share."""

from __future__ import annotations

import textwrap

from swarmhub.record import Run

REASON_LENGTH = 600  # characters of a reason on the terminal; the record has it whole
UNREACHABLE = (
    "see that `ssh` to it works as the inventory says (ansible {host} -m ping), then run the same command again"
)
AGAIN = "mend what it says and run the same command again: what is done stays done"


def span(seconds: float) -> str:
    """Return a time as people say it: 4.2 s, 38 s, 2 min 05 s, 1 h 02 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def reason(message: str) -> str:
    """Return a failure's message, shortened where it is long, its lines kept."""
    return message if len(message) <= REASON_LENGTH else f"{message[:REASON_LENGTH].rstrip()} …"


def failures(run: Run) -> list[str]:
    """Say which tasks failed where, why, and what to do: the same reason on several hosts once."""
    lines: list[str] = []
    hosts: dict[tuple[str, str, str], list[str]] = {}
    silent = sorted({each["host"] for each in run.failures if each["kind"] == "unreachable"})
    told: set[str] = set()
    for each in run.failures:
        # Who does not answer once is tried again by tasks that put up with it.
        if each["kind"] == "unreachable" and each["host"] in told:
            continue
        told.add(each["host"])
        hosts.setdefault((each["play"], each["task"], each["message"]), []).append(each["host"])
    for (play, task, message), names in hosts.items():
        where = ", ".join(name for name in names if name)
        place = " · ".join(part for part in (where, play, task) if part)
        lines += [f"✗ {place}" if place else "✗ Ansible", textwrap.indent(reason(message), "  ")]
    if silent:
        lines.append(f"→ {', '.join(silent)}: {UNREACHABLE.format(host=','.join(silent))}")
    if len(silent) < len(told) or not told:
        lines.append(f"→ {AGAIN}")
    return lines


def half_done(run: Run) -> list[str]:
    """Say where an interrupted run stopped, and what it has changed by then."""
    changes: dict[str, int] = {}
    for change in run.changes:
        changes[change["host"]] = changes.get(change["host"], 0) + 1
    done = ", ".join(f"{host} ({count})" for host, count in changes.items()) or "nothing"
    where = f"in the phase “{run.plays[-1]['name']}”" if run.plays else "before the first phase"
    cut = [f"Cut short on {each['host']}: {each['task']}." for each in run.unfinished]
    return [f"Stopped {where}.", *cut, f"Changed by then: {done}.", "→ the same command goes on from there"]


def ending(run: Run) -> list[str]:
    """Return the last words about a run."""
    if run.outcome == "well":
        changed = sorted({change["host"] for change in run.changes})
        verb = "would change" if run.check else "changed"
        what = f"{len(run.changes)} {'thing' if len(run.changes) == 1 else 'things'} {verb} on {', '.join(changed)}"
        return [f"✓ {what if changed else 'nothing to change'} · {span(run.seconds)}"]
    if run.outcome == "running":
        return [
            "still running" if run.state == "running" else "killed: what is half done, the same command goes on with"
        ]
    if run.outcome == "locked":
        words = [f"✗ {run.failures[-1]['message']}", *(half_done(run) if run.changes else [])]
    else:
        words = half_done(run) if run.outcome == "interrupted" else []
        words += failures(run) if run.failures or run.outcome == "failed" else []
    return [*words, f"{run.outcome} after {span(run.seconds)} · swarmhub runs report {run.id}"]
