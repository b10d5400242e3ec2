"""From a command's options to the run of a playbook."""

from __future__ import annotations

import shlex
import sys
import typing as t
from collections.abc import Callable, Sequence

import typer

from swarmhub.cli_options import sudo_password
from swarmhub.errors import Refused
from swarmhub.project import Project


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
    undo: Callable[[], None] = lambda: None,
) -> t.NoReturn:
    """Run a playbook and end with its exit code.

    Args:
        own: variables that the command itself sets.
        undo: called where nothing was run.
    """
    from swarmhub.runs import Wish, carry_out

    given = _parse(variables)
    password = sudo_password(ask_password)
    wish = Wish(
        project,
        playbook,
        _command(variables),
        {**given, **(own or {})},
        as_json=as_json,
        become_password=password,
        private=[*given.values(), password or ""],
    )
    raise typer.Exit(carry_out(wish, plan=plan, yes=yes, question=question, undo=undo))


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


def _command(variables: Sequence[str]) -> str:
    """Return the command line for records, without the values of ``variables``, NAME=VALUE: they may be secret."""
    words = sys.argv[1:]
    for given in variables:
        # It may stand in one word with its option, and with others: -Kepassword=…
        words = [word.replace(given, f"{given.partition('=')[0]}=…") for word in words]
    return shlex.join(words).replace("'", "")
