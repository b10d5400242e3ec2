"""What pyinfra has no operations for on any host: holds of packages, live rules of the firewall, grants."""

from __future__ import annotations

import shlex
import typing as t

from pyinfra import host
from pyinfra.api import FactBase, operation

Commands = t.Iterator[t.Any]
LIVE = "{0} --wait -S | grep SWARMHUB- | cmp --silent - /run/swarmhub-firewall.{1}"


class Lines(FactBase[list[str]]):
    """What a command prints, by lines."""

    default = list

    def command(self, command: str) -> str:
        """The command itself."""
        return command

    def process(self, output: list[str]) -> list[str]:
        """Return the lines."""
        return output


@operation()
def held(packages: list[str]) -> Commands:
    """Hold packages at their version."""
    if missing := sorted(set(packages) - set(host.get_fact(Lines, command="apt-mark showhold"))):
        yield shlex.join(["apt-mark", "hold", *missing])


@operation()
def firewall() -> Commands:
    """Load the firewall's rules anew where the live ones are others."""
    same = [LIVE.format(f"ip{six}tables", version) for six, version in (("", "v4"), ("6", "v6"))]
    if host.get_fact(Lines, command=f"{' && '.join(same)} && echo same || true") != ["same"]:
        yield "systemctl reload-or-restart swarmhub-firewall.service"


@operation()
def granted(role: str, to: str) -> Commands:
    """Make one role of the database a member of another."""
    query = f"SELECT 1 FROM pg_auth_members WHERE roleid = '{role}'::regrole AND member = '{to}'::regrole"  # noqa: S608
    if not host.get_fact(Lines, command=f"psql -Atc {shlex.quote(query)} || true"):
        yield f"psql -c {shlex.quote(f'GRANT {role} TO {to}')}"
