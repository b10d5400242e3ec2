"""What a role wants against what a look found."""

from __future__ import annotations

import hashlib
import typing as t

from ansible.module_utils.swarmhub.differences import differences, entries, names, newest, sentences

OWNED: dict[str, t.Any] = {
    "engine": {
        "packages": ["docker.io"],
        "held": ["runc"],
        "directories": [{"path": "/etc/docker", "mode": "0755"}],
        "files": [
            {"path": "/etc/docker/daemon.json", "content": "{}", "mode": "0644"},
            {"path": "/old", "absent": True},
        ],
        "units": [{"name": "docker.service", "after": ["/etc/docker/daemon.json"], "of": ["docker.io"]}],
        "sysctls": {"net.ipv4.ip_forward": 1},
        "look_also": ["/etc/docker/certs.d/*"],
        "facts": {"the database is missing": True},
    }
}


def right() -> dict[str, t.Any]:
    common = {"owner": "root", "group": "root"}
    return {
        "packages": {
            "docker.io": {"version": "1", "held": False, "since": 9.0},
            "runc": {"version": "1", "held": True, "since": 9.0},
        },
        "files": {
            "/etc/docker": {"type": "directory", "mode": "0755", "mtime": 1.0, "sha256": None, **common},
            "/etc/docker/daemon.json": {
                "type": "file",
                "mode": "0644",
                "mtime": 5.0,
                "sha256": hashlib.sha256(b"{}").hexdigest(),
                **common,
            },
            "/old": None,
        },
        "units": {"docker.service": {"enabled": True, "active": True, "since": 10.0}},
        "sysctls": {"net.ipv4.ip_forward": "1"},
        "time": 100.0,
    }


def found(state: dict[str, t.Any], owned: dict[str, t.Any] = OWNED) -> dict[str, dict[str, str]]:
    by_role = differences(owned, state)
    return {kind: value for kind, value in by_role.get("engine", {}).items() if value}


def test_a_host_that_is_right_differs_in_nothing() -> None:
    assert differences(OWNED, right()) == {}


def test_names_carry_no_content() -> None:
    asked = names(OWNED)
    assert asked["files"] == ["/etc/docker", "/etc/docker/certs.d/*", "/etc/docker/daemon.json", "/old"]
    assert asked["packages"] == ["docker.io", "runc"]
    assert "{}" not in str(asked)


def test_each_kind_of_difference_is_found_alone() -> None:
    daemon = "/etc/docker/daemon.json"
    cases: list[tuple[t.Callable[[dict[str, t.Any]], t.Any], str, str]] = [
        (lambda s: s["packages"].pop("docker.io"), "packages", "docker.io"),
        (lambda s: s["packages"]["runc"].update(held=False), "held", "runc"),
        (lambda s: s["files"].update({"/etc/docker": None}), "directories", "/etc/docker"),
        (lambda s: s["files"][daemon].update(sha256="x"), "files", daemon),
        (lambda s: s["files"][daemon].update(mode="0600"), "files", daemon),
        (lambda s: s["files"][daemon].update(owner="ops"), "files", daemon),
        (lambda s: s["files"].update({"/old": s["files"][daemon]}), "files", "/old"),
        (lambda s: s["units"]["docker.service"].update(enabled=False), "units", "docker.service"),
        (lambda s: s["units"]["docker.service"].update(active=False), "units", "docker.service"),
        (lambda s: s["files"][daemon].update(mtime=11.0), "restart", "docker.service"),
        (lambda s: s["packages"]["docker.io"].update(since=11.0), "restart", "docker.service"),
        (lambda s: s["sysctls"].update({"net.ipv4.ip_forward": "0"}), "sysctls", "net.ipv4.ip_forward"),
    ]
    for change, kind, name in cases:
        state = right()
        change(state)
        assert list(found(state)) == [kind], (kind, name)
        assert list(found(state)[kind]) == [name]


def test_only_what_has_a_newer_version_is_wanted_in_that() -> None:
    assert newest(["docker.io", "runc", "x=1"], {"runc": "2"}) == ["docker.io", "runc=2", "x=1"]


def test_what_was_written_before_the_clock_was_set_restarts_nothing() -> None:
    state = right()
    state["packages"]["docker.io"]["since"] = state["files"]["/etc/docker/daemon.json"]["mtime"] = 101.0
    assert found(state) == {}


def test_what_can_be_reloaded_is_as_old_as_its_last_reload() -> None:
    state = right()
    state["units"]["docker.service"] |= {"since": 4.0, "settled": 9.0}
    unit = {"name": "docker.service", "after": ["/etc/docker/daemon.json"]}
    assert found(state, {"engine": {"units": [unit]}})["restart"]
    assert found(state, {"engine": {"units": [{**unit, "reloads": True}]}}) == {}
    state["files"]["/etc/docker/daemon.json"]["mtime"] = 9.5
    assert found(state, {"engine": {"units": [{**unit, "reloads": True}]}})["restart"]


def test_a_number_is_compared_with_the_number_and_a_name_with_the_name() -> None:
    account = {"owner": "ops", "group": "users", "uid": 1000, "gid": 100}
    for owner, group, reason in (
        ("1000", "users", ""),
        (1000, 100, ""),
        ("ops", "100", ""),
        ("1001", "users", "owner 1000, not 1001"),
        ("ops", "1000", "group 100, not 1000"),
        ("root", "users", "owner ops, not root"),
    ):
        folder = {"path": "/srv/homes", "mode": "0755", "owner": owner, "group": group}
        state = {**right(), "files": {"/srv/homes": {"type": "directory", "mode": "0755", "sha256": None, **account}}}
        expected = {"directories": {"/srv/homes": reason}} if reason else {}
        assert found(state, {"engine": {"directories": [folder]}}) == expected


def test_a_new_content_may_tell_why() -> None:
    state = right()
    state["files"]["/etc/docker/daemon.json"]["sha256"] = "x"
    file = {"path": "/etc/docker/daemon.json", "content": "{}", "mode": "0644", "because": "card GPU-a is gone"}
    assert sentences(differences({"engine": {"files": [file]}}, state)) == [
        "engine: /etc/docker/daemon.json content differs (card GPU-a is gone)"
    ]


def test_what_a_role_notes_for_itself_is_not_handed_on() -> None:
    owned = {
        "directories": [{"path": "/a", "mode": "0755", "read_only": True}, {"path": "/right", "mode": "0755"}],
        "files": [{"path": "/b", "content": "", "mode": "0600", "secret": True, "because": "it is new"}],
    }
    assert entries(owned, "directories", {"/a": "missing"}) == [{"path": "/a", "mode": "0755"}]
    assert entries(owned, "files", ["/b"]) == [{"path": "/b", "secret_content": "", "mode": "0600"}]
    assert entries({}, "files", ["/b"]) == []


def test_a_fact_that_does_not_hold_is_a_sentence() -> None:
    owned = {"postgres": {"facts": {"the database is missing": False}}}
    assert sentences(differences(owned, right())) == ["postgres: the database is missing"]


def test_a_named_version_is_wanted_whether_older_or_newer() -> None:
    owned = {"engine": {"packages": ["docker.io=2"], "held": ["docker.io"], "package_patterns": ["linux-headers-*"]}}
    assert names(owned)["packages"] == ["docker.io", "linux-headers-*"]
    for version in ("1", "3"):
        state = {**right(), "packages": {"docker.io": {"version": version, "held": True}}}
        assert found(state, owned) == {"packages": {"docker.io=2": f"instead of {version}"}}
    state["packages"]["docker.io"]["version"] = "2"
    assert found(state, owned) == {}
    state["packages"].clear()
    assert found(state, owned) == {"packages": {"docker.io=2": "not installed"}}


def test_a_unit_that_is_not_wanted_is_a_difference_while_it_runs() -> None:
    owned = {"engine": {"units": [{"name": "docker.service", "enabled": False, "active": False}]}}
    assert found(right(), owned) == {"units": {"docker.service": "enabled, active"}}
    stopped = {**right(), "units": {"docker.service": {"enabled": False, "active": False}}}
    assert found(stopped, owned) == {}
    assert found({**right(), "units": {}}, owned) == {}
