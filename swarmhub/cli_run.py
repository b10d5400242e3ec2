"""From a command's options to the run of a playbook."""

from __future__ import annotations

import getpass
import re
import shlex
import sys
import typing as t

import typer

from swarmhub.errors import Refused
from swarmhub.project import Project

#: The value in NAME=VALUE, which may stand in one word with its option.
VALUE = re.compile(r"^((?:--extra-vars=|-e)?[^=]+=).*", re.DOTALL)


def run(
    project: Project,
    playbook: str,
    *,
    variables: list[str],
    own: dict[str, str] | None = None,
    as_json: bool,
    ask_password: bool,
    plan: bool = False,
    yes: bool = False,
    question: str = "",
) -> t.NoReturn:
    """Run a playbook and end with its exit code; ``own`` are variables that the command itself sets."""
    from swarmhub.runs import Wish, carry_out

    wish = Wish(
        project,
        playbook,
        _command(),
        {**_parse(variables), **(own or {})},
        as_json=as_json,
        become_password=getpass.getpass("Password for sudo on the hosts: ") if ask_password else None,
    )
    raise typer.Exit(carry_out(wish, plan=plan, yes=yes, question=question))


def run_asking(playbook: str, name: str, question: str, yes: bool, **options: t.Any) -> t.NoReturn:
    """Run a playbook that asks on its own: here a prediction shows what it would ask about, and we ask."""
    from swarmhub.plan import require_somebody_to_ask

    require_somebody_to_ask(yes)
    own = {"confirm": "yes", **({"node": name} if name else {}), **options.pop("own", {})}
    run(playbook=playbook, own=own, plan=not yes, yes=yes, question=question, **options)


def _parse(variables: list[str]) -> dict[str, str]:
    """Return what ``-e name=value`` gave.

    Raises:
        Refused: one has another form.
    """
    for each in variables:
        if not each.partition("=")[0].isidentifier() or "=" not in each:
            raise Refused(f"-e {each.partition('=')[0]}: write it as NAME=VALUE")
    return {name: value for name, _, value in (each.partition("=") for each in variables)}


def _command() -> str:
    """Return the command line for records, without the values of variables: they may be secret."""
    words: list[str] = []
    for word in sys.argv[1:]:
        given = words[-1:] in (["-e"], ["--extra-vars"]) or word.startswith(("-e", "--extra-vars="))
        words.append(VALUE.sub(r"\1…", word) if given else word)
    return shlex.join(words).replace("'", "")
