"""Argument specs of all roles against all hosts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.module_utils.swarmhub.specs import validate_specs
from ansible.template import trust_as_template

OPTIONS = {
    "engine_mode": {"type": "str", "choices": ["a", "b"], "description": "Mode."},
    "engine_pools": {"type": "list", "elements": "str"},
    "engine_labels": {"type": "dict"},
    "engine_seconds": {"type": "int", "required": True},
    "engine_auths": {
        "type": "list",
        "elements": "dict",
        "options": {"user": {"type": "str", "required": True}, "password": {"type": "int", "no_log": True}},
    },
}


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    (tmp_path / "engine/meta").mkdir(parents=True)
    (tmp_path / "engine/defaults").mkdir()
    specs = {"argument_specs": {"main": {"options": OPTIONS}}}
    (tmp_path / "engine/meta/argument_specs.yml").write_text(yaml.safe_dump(specs))
    (tmp_path / "engine/defaults/main.yml").write_text("engine_mode: a\nengine_seconds: '{{ other }}'\n")
    (tmp_path / "no_specs").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("engine_mode", "c", "must be one of: a, b"),
        ("engine_pools", "10.0.0.0/8", "is text and must be a list"),
        ("engine_labels", "a=b", "is text and must be a mapping"),
        ("engine_pools", {"a": 1}, "is a mapping and must be a list"),
        ("engine_pools", 5, "is a number and must be a list"),
        ("engine_labels", ["a"], "is a list and must be a mapping"),
        ("engine_seconds", "soon", "is text and must be a number"),
        ("engine_seconds", True, "is true or false and must be a number"),
        ("engine_seconds", 1.5, "is not whole and must be a number"),
        ("engine_auths", [{"password": 5}], "missing required arguments: user"),
    ],
)
def test_a_wrong_value_names_role_variable_and_host(roles: Path, name: str, value: object, words: str) -> None:
    [finding] = validate_specs(roles, {"h1": {name: value}, "h2": {}})
    assert (finding.host, finding.key) == ("h1", name)
    assert words in finding.what
    assert "role engine" in finding.cure


def test_ansibles_own_text_is_text(roles: Path) -> None:
    [finding] = validate_specs(roles, {"h1": {"engine_pools": trust_as_template("a"), "engine_mode": "a"}})
    assert finding.what == "is text and must be a list"


def test_what_is_wrong_on_all_hosts_is_said_once(roles: Path) -> None:
    [finding] = validate_specs(roles, {host: {"engine_mode": "c"} for host in ("h1", "h2", "h3")})
    assert (finding.host, finding.file) == ("", "group_vars/all.yml")


def test_defaults_are_judged_as_well(roles: Path) -> None:
    (roles / "engine/defaults/main.yml").write_text("engine_mode: z\n")
    [finding] = validate_specs(roles, {"h1": {}, "h2": {"engine_mode": "b"}})
    assert finding.host == "h1"


def test_what_is_absent_templated_or_unknown_is_not_judged(roles: Path) -> None:
    assert validate_specs(roles, {"h1": {"engine_seconds": "{{ x }}", "engine_pools": ["{{ y }}"], "other": 1}}) == []


def test_only_the_roles_asked_for(roles: Path) -> None:
    assert validate_specs(roles, {"h1": {"engine_mode": "c"}}, ["no_specs"]) == []


def test_secrets_are_masked(roles: Path) -> None:
    [finding] = validate_specs(roles, {"h1": {"engine_auths": [{"user": "u", "password": "hunter2-secret"}]}})
    assert "hunter2" not in finding.what


def test_our_own_defaults_are_right() -> None:
    assert validate_specs(Path(__file__).parents[2] / "roles", {"h1": {}}) == []
