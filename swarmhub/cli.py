"""The command line: ``swarmhub COMMAND``. Commands are a few lines each in cli_*.py; what they do is elsewhere."""

from __future__ import annotations

import signal
import sys
import typing as t

import typer

from swarmhub import cli_lab, cli_look, cli_plays, cli_runs
from swarmhub.errors import Code, Refused

CTRL_C = 128 + signal.SIGINT


class App(typer.Typer):
    """Ends with a sentence and an exit code where a command refuses."""

    def __call__(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Run the command line."""
        try:
            return super().__call__(*args, **kwargs)
        except Refused as refused:
            sys.stderr.write(f"swarmhub: {refused}\n")
            sys.exit(refused.code)
        except SystemExit as ended:
            # Typer's own after Ctrl-C at a question.
            sys.exit(Code.INTERRUPTED if ended.code == CTRL_C else ended.code)


app = App(
    name="swarmhub",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""A JupyterHub on Docker Swarm, brought up and kept by Ansible.

    \b
    swarmhub init                          write an inventory
    swarmhub check                         what is wrong with it, and with the hosts
    swarmhub apply --plan                  what would change; asks, then does it
    swarmhub add-node gpu3 --address 192.0.2.33 --gpu
    swarmhub status --watch

    \b
    Exit codes: 0 well; 1 the run failed; 2 a wrong command line, or findings;
    3 another run is at work; 4 interrupted.
    """,
)
cli_look.register(app)
cli_plays.register(app)
app.add_typer(cli_runs.app, name="runs")
app.add_typer(cli_lab.app, name="lab")
