"""The command line: ``swarmhub COMMAND``. Each command is a few lines here; what it does is in a module of its own."""

from __future__ import annotations

import getpass
import shlex
import sys
import typing as t

import typer

from swarmhub import cli_lab, cli_look, cli_runs
from swarmhub.cli_options import AsJson, AskPassword, Inventory, Names, Plan, ProjectFolder, Variables, Yes
from swarmhub.errors import Refused
from swarmhub.project import Project, find


class App(typer.Typer):
    """Ends with a sentence and an exit code where a command refuses."""

    def __call__(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Run the command line."""
        try:
            return super().__call__(*args, **kwargs)
        except Refused as refused:
            sys.stderr.write(f"swarmhub: {refused}\n")
            sys.exit(refused.code)


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
    3 another run holds the lock; 4 interrupted.
    """,
)
app.add_typer(cli_runs.app, name="runs")
app.add_typer(cli_lab.app, name="lab")
cli_look.register(app)


def _run(
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
        {**parse_variables(variables), **(own or {})},
        as_json=as_json,
        become_password=getpass.getpass("Password for sudo on the hosts: ") if ask_password else None,
    )
    raise typer.Exit(carry_out(wish, plan=plan, yes=yes, question=question))


def parse_variables(variables: list[str]) -> dict[str, str]:
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
        given = words[-1:] in (["-e"], ["--extra-vars"]) or word.startswith(("--extra-vars=", "-e"))
        head, equals, _ = word.removeprefix("--extra-vars=").partition("=")
        words.append(
            f"{'--extra-vars=' if word.startswith('--extra-vars=') else ''}{head}{equals}…"
            if given and equals
            else word
        )
    return shlex.join(words).replace("'", "")


def _run_asking(playbook: str, name: str, question: str, yes: bool, **options: t.Any) -> t.NoReturn:
    """Run a playbook that asks on its own: here a prediction shows what it would ask about, and we ask."""
    from swarmhub.plan import require_somebody_to_ask

    require_somebody_to_ask(yes)
    own = {"confirm": "yes", **({"node": name} if name else {}), **options.pop("own", {})}
    _run(playbook=playbook, own=own, plan=not yes, yes=yes, question=question, **options)


@app.command()
def apply(
    plan: Plan = False,
    yes: Yes = False,
    variables: Variables = [],  # noqa: B006 - Typer's own idiom
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Bring the cluster to what the inventory says (site.yml).

    \b
    swarmhub apply
    swarmhub apply --plan
    swarmhub apply -e docker_engine_restart=drain
    """
    found = find(project, inventory)
    _run(found, "site", variables=variables, as_json=as_json, ask_password=ask_password, plan=plan, yes=yes)


@app.command()
def add_node(
    name: t.Annotated[str, typer.Argument(help="Its name in the inventory.")],
    address: t.Annotated[
        str, typer.Option(help="Address that SSH connects to; needed unless the inventory has it.")
    ] = "",
    gpu: t.Annotated[bool, typer.Option("--gpu", help="It has NVIDIA cards (group gpu_workers).")] = False,
    manager: t.Annotated[bool, typer.Option("--manager", help="It is to be a manager.")] = False,
    yes: Yes = False,
    plan: Plan = False,
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Write a node into the inventory and bring it in while people work.

    \b
    swarmhub add-node gpu3 --address 192.0.2.33 --gpu
    swarmhub add-node cpu2            gives a drained node back
    """
    from swarmhub.hosts_file import add_host

    found = find(project, inventory)
    found.require_inventory()
    group = "managers" if manager else "gpu_workers" if gpu else "cpu_workers"
    if address:
        add_host(found.hosts_file, name, address, group)
    own = {"node": name}
    _run(
        found, "add_node", variables=variables, own=own, as_json=as_json, ask_password=ask_password, plan=plan, yes=yes
    )


@app.command()
def drain(
    name: Names,
    yes: Yes = False,
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Take a node out of service: idle notebooks are stopped, busy ones left alone.

    \b
    swarmhub drain gpu3
    swarmhub drain gpu3 -e drain_busy=stop -e drain_wait=600
    """
    options = {"variables": variables, "as_json": as_json, "ask_password": ask_password}
    _run_asking("drain_node", name, f"Take {name} out of service?", yes, project=find(project, inventory), **options)


@app.command()
def remove_node(
    name: Names,
    yes: Yes = False,
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Take a node, a dead one too, out of the cluster. Take it out of the inventory afterwards.

    \b
    swarmhub remove-node gpu3
    """
    options = {"variables": variables, "as_json": as_json, "ask_password": ask_password}
    _run_asking(
        "remove_node", name, f"Take {name} out of the cluster?", yes, project=find(project, inventory), **options
    )


@app.command()
def upgrade(
    yes: Yes = False,
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Bring this checkout's hub and proxy; notebooks run on.

    \b
    git pull && swarmhub upgrade
    swarmhub upgrade -e back=yes      in the older checkout: undo it
    """
    options = {"variables": variables, "as_json": as_json, "ask_password": ask_password}
    question = "Replace hub and proxy? For some seconds nobody reaches a notebook"
    _run_asking("upgrade", "", question, yes, project=find(project, inventory), **options)


@app.command()
def backup(
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Make a backup now: database, homes, secrets and inventory.

    \b
    swarmhub backup
    """
    _run(find(project, inventory), "backup", variables=variables, as_json=as_json, ask_password=ask_password)


@app.command()
def restore(
    snapshot: t.Annotated[str, typer.Option(help="Another snapshot than the latest, by its id.")] = "",
    yes: Yes = False,
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Put a backup onto the inventory's hosts; it is read and checked before the question.

    \b
    swarmhub restore
    swarmhub restore --snapshot 4f1c22ab
    """
    options = {"variables": variables, "as_json": as_json, "ask_password": ask_password}
    own = {"snapshot": snapshot} if snapshot else {}
    _run_asking("restore", "", "Restore it?", yes, project=find(project, inventory), own=own, **options)


@app.command()
def verify(
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Walk a person's path through the hub: sign in, run a notebook of every profile, find its file again.

    \b
    swarmhub verify
    """
    _run(find(project, inventory), "verify", variables=variables, as_json=as_json, ask_password=ask_password)
