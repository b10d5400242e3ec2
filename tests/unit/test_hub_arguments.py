"""What the modules that ask a hub take, held against their documentation and against what the plays give them."""

from __future__ import annotations

import importlib
import typing as t

import pytest
import yaml
from rendering import ROOT

MODULES = ("hub_account", "hub_announcement", "hub_notebooks", "hub_outage", "hub_probe")
PLAYS = sorted((ROOT / "playbooks").glob("*.yml")) + sorted((ROOT / "playbooks/tasks").glob("*.yml"))
SHARED = yaml.safe_load((ROOT / "roles/cluster/vars/main/cluster.yml").read_text())


class Asked(Exception):
    pass


def arguments(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """Return the arguments that a module declares."""

    def declare(argument_spec: dict[str, t.Any], **_: t.Any) -> None:
        raise Asked(argument_spec)

    module = importlib.import_module(name)
    monkeypatch.setattr(module, "AnsibleModule", declare)
    with pytest.raises(Asked) as asked:
        module.main()
    return t.cast("dict[str, t.Any]", asked.value.args[0])


def keys(given: t.Any) -> set[str]:
    """Return the keys of a mapping, or of the shared one that an expression names."""
    return set(SHARED[given.strip("{ }")] if isinstance(given, str) else given or {})


def uses(found: t.Any, name: str, usual: frozenset[str] = frozenset()) -> t.Iterator[tuple[set[str], frozenset[str]]]:
    """Yield what each task gives to a module, and what its play or block gives to all of them."""
    if isinstance(found, list):
        for each in found:
            yield from uses(each, name, usual)
    elif isinstance(found, dict):
        usual |= keys(found.get("module_defaults", {}).get(name))
        if name in found:
            yield keys(found[name]), usual
        for key in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
            yield from uses(found.get(key), name, usual)


@pytest.mark.parametrize("name", MODULES)
def test_the_plays_give_a_module_what_it_takes_and_all_that_it_needs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = arguments(name, monkeypatch)
    needs = {key for key, argument in takes.items() if argument.get("required")}
    found = [(path.name, *use) for path in PLAYS for use in uses(yaml.safe_load(path.read_text()), name)]
    assert found
    for play, given, usual in found:
        assert given | usual <= takes.keys(), play
        assert needs <= given | usual, play


@pytest.mark.parametrize("name", MODULES)
def test_a_module_documents_what_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documented = yaml.safe_load(importlib.import_module(name).DOCUMENTATION)["options"]
    for key, argument in arguments(name, monkeypatch).items():
        option = documented.pop(key)
        for word in ("type", "elements", "default", "required", "choices"):
            assert option.get(word) == argument.get(word), f"{key}: {word}"
    assert documented == {}
