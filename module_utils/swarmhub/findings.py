"""What a check found: one shape for the inventory, the profiles, the argument specs and the look at the hosts."""

from __future__ import annotations

import dataclasses
import difflib
import typing as t
from collections.abc import Iterable

HOSTS_FILE = "hosts.yml"
VARIABLES_FILE = "group_vars/all.yml"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or that a person should know.

    Attributes:
        what: what is wrong, as a clause without a full stop.
        cure: what to do about it.
        key: the group, variable or thing on the host that it is about.
        host: the inventory's name of the host, or several, comma separated; empty for the whole cluster.
        file: where the key is written, relative to the inventory directory; empty for what was seen on a host.
        severity: ``error`` stops a run, ``warning`` does not.
    """

    what: str
    cure: str
    key: str
    host: str = ""
    file: str = ""
    severity: t.Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """Return the finding as one line."""
        place = " · ".join(part for part in (self.host, self.key) if part)
        file = f" ({self.file})" if self.file else ""
        return f"{place}{file} — {self.what}; {self.cure}"


def render_findings(findings: Iterable[Finding]) -> str:
    """Return one block of text, errors first; empty when nothing was found."""
    ordered = sorted(findings, key=lambda finding: finding.severity)
    if not ordered:
        return ""
    errors = sum(finding.severity == "error" for finding in ordered)
    counts = ((errors, "to correct"), (len(ordered) - errors, "to know"))
    title = ", ".join(f"{count} {kind}" for count, kind in counts if count)
    return "\n".join([f"{title}:", *(f"  {number}. {finding}" for number, finding in enumerate(ordered, start=1))])


def report(findings: Iterable[Finding]) -> dict[str, str]:
    """Return ``{"errors": text, "warnings": text}``, each empty when there are none."""
    split: dict[str, list[Finding]] = {"errors": [], "warnings": []}
    for finding in findings:
        split[f"{finding.severity}s"].append(finding)
    return {kind: render_findings(found) for kind, found in split.items()}


def nearest(name: str, known: Iterable[str], likeness: float = 0.85) -> str:
    """Return the known name that is most like ``name``, empty when none is as alike as ``likeness`` (0 to 1)."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)), "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a cure for an unknown name: the one that was meant, or those that there are."""
    names = list(known)
    meant = nearest(name, names, likeness=0.6)
    return f"did you mean {meant}?" if meant else f"use one of {', '.join(names)}"
