"""What is exported, and how it is mounted."""

from __future__ import annotations

import pytest
from ansible.module_utils.swarmhub import exports, homes

CLIENTS = ["10.0.0.0/8", "fd00::/8"]
FOLDERS = homes.folders([{"name": "data", "read_only": True, "description": "Ours"}, {"name": "team", "groups": ["a"]}])
WANTED = exports.exports("/srv/homes", "/srv/shared", FOLDERS)
# What is live beyond what is written are defaults.
SHOWN = ["wdelay", "hide", "sec=sys"]


def test_a_description_is_for_those_who_read_the_inventory() -> None:
    assert FOLDERS[0] == {"name": "data", "groups": [], "read_only": True}


def live() -> list[dict[str, object]]:
    """Return what a server shows that exports what is wanted."""
    return [
        {
            "path": each["path"],
            "client": client,
            "options": [*exports.options(each), *SHOWN],
            "elsewhere": False,
        }
        for each in WANTED
        for client in CLIENTS
    ]


def test_the_drop_in_names_each_directory_for_each_network() -> None:
    lines = exports.lines(WANTED, CLIENTS).splitlines()
    assert len(lines) == 6
    squash = "sync,no_subtree_check,secure,root_squash,all_squash,anonuid=1000,anongid=100"
    assert lines[0] == f"/srv/homes 10.0.0.0/8(rw,{squash})"
    assert lines[2] == f"/srv/shared/data 10.0.0.0/8(ro,{squash})"
    assert lines[5] == f"/srv/shared/team fd00::/8(rw,{squash})"


def test_what_is_live_as_wanted_is_left_alone() -> None:
    assert exports.differences(live(), WANTED, CLIENTS) == []


def test_every_difference_of_ours_is_a_sentence() -> None:
    found = live()
    found[0]["options"] = ["rw", "sync", "no_root_squash"]
    del found[3]
    found.append({"path": "/srv/homes", "client": "*", "options": ["rw"], "elsewhere": False})
    assert exports.differences(found, WANTED, CLIENTS) == [
        "/srv/homes is exported to 10.0.0.0/8 without "
        "no_subtree_check,secure,root_squash,all_squash,anonuid=1000,anongid=100",
        "/srv/shared/data is not exported to fd00::/8",
        "/srv/homes is exported to * as well",
    ]
    assert len(exports.differences([], WANTED, CLIENTS)) == 6


def test_a_folder_that_became_read_only_is_exported_anew() -> None:
    wanted = [{**each, "read_only": each["path"].endswith("team")} for each in WANTED]
    found = exports.differences(live(), wanted, CLIENTS)
    assert found[0] == "/srv/shared/data is exported to 10.0.0.0/8 without rw"
    assert found[2] == "/srv/shared/team is exported to 10.0.0.0/8 without ro"


def test_what_another_file_exports_as_well_is_found() -> None:
    found = live()
    assert exports.elsewhere(found, WANTED, CLIENTS) == []
    found[1]["elsewhere"] = True
    found.append({"path": "/other", "client": CLIENTS[0], "options": ["rw"], "elsewhere": True})
    assert exports.elsewhere(found, WANTED, CLIENTS) == [("/srv/homes", "fd00::/8")]


def test_what_others_export_is_theirs() -> None:
    backup = {"path": "/srv/homes", "client": "backup", "options": ["ro"], "elsewhere": True}
    other = {"path": "/srv/other", "client": "*", "options": ["rw"], "elsewhere": False}
    assert exports.differences([*live(), backup, other], WANTED, CLIENTS) == []


@pytest.mark.parametrize(
    ("wanted", "driver", "options"),
    [
        ("", "nfs4", "rw,hard,timeo=600,retrans=2,noatime,nfsvers=4.2"),
        ("", "nfs3", "rw,hard,timeo=600,retrans=2,noatime,nfsvers=3"),
        ("rw,vers=3,nolock,soft", "nfs3", "rw,vers=3,nolock,soft"),
        ("hard,nconnect=4", "nfs4", "hard,nconnect=4,nfsvers=4.2"),
    ],
)
def test_a_mount_names_its_version(wanted: str, driver: str, options: str) -> None:
    assert homes.mount_options(wanted, driver) == options
