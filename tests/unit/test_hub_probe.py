"""hub_probe's path, its failure rows, its clean-up and its silence about secrets, against a small hub of our own."""

from __future__ import annotations

import threading
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub.probe import FAILED, ONE_NODE_ONLY, PASSED, Probe, Profile, Redactor, Row
from ansible.module_utils.swarmhub.probe_session import FormSession, HubError, Page, TokenSession, tls_context
from hub_probe_server import API_TOKEN, CARDS, PASSWORD, USER, Hub

CPU = Profile("cpu", 0, ["n1"])
GPU = Profile("gpu", 1, ["n1", "n2"])


@pytest.fixture
def hub(tmp_path: Path) -> t.Iterator[Hub]:
    with Hub(tmp_path) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()


def probe(hub: Hub, *profiles: Profile, by: str = "form", password: str = PASSWORD, start_timeout: float = 10) -> Probe:
    options = {"start_timeout": start_timeout, "request_timeout": 5.0, "tls": tls_context(None, True)}
    admin = TokenSession(hub.url, USER, API_TOKEN, **options)
    session = admin if by == "token" else FormSession(hub.url, USER, password, **options)
    walk = Probe(session, None if by == "form alone" else admin, Redactor(password, API_TOKEN))
    if walk.sign_in():
        walk.run(list(profiles))
    return walk


def row(walk: Probe, step: str) -> Row:
    return next(row for row in walk.rows if row.step == step)


@pytest.mark.parametrize("by", ["form", "token"])
def test_every_step_passes_and_nothing_stays(hub: Hub, by: str, tmp_path: Path) -> None:
    walk = probe(hub, CPU, GPU, by=by)

    assert walk.failures() == ""
    outcomes = {(row.profile, row.outcome) for row in walk.rows if row.step == "start on another node"}
    assert outcomes == {("cpu", ONE_NODE_ONLY), ("gpu", PASSED)}
    assert [row.detail for row in walk.rows if row.step == "see the profile's cards"] == ["none", CARDS["gpu"]]
    assert hub.started == [("cpu", "n1"), ("cpu", "n1"), ("gpu", "n1"), ("gpu", "n2")]
    assert (hub.server, hub.stops, list(tmp_path.iterdir())) == (None, 4, [])


def test_a_prediction_makes_no_account(hub: Hub) -> None:
    hub.faults.add("has no account")
    options = {"start_timeout": 5, "request_timeout": 5.0, "tls": tls_context(None, True)}
    admin = TokenSession(hub.url, USER, API_TOKEN, **options)
    walk = Probe(admin, admin, Redactor(API_TOKEN), predicts=True)
    assert walk.sign_in()
    assert walk.rows[0].detail == "by API token; the account is still to be made"
    assert "has no account" in hub.faults, "as if one had been made"


def test_a_token_makes_the_account_where_it_is_missing(hub: Hub) -> None:
    hub.faults.add("has no account")
    assert probe(hub, CPU, by="token").failures() == ""


def test_a_token_is_no_excuse_for_a_sign_in_page_that_is_broken(hub: Hub) -> None:
    hub.faults.add("has no door")
    assert probe(hub, CPU, by="token").failures().startswith("sign in: the sign-in page: 500")


@pytest.mark.parametrize(
    ("fault", "step", "words"),
    [
        (
            "fails",
            "start a server",
            "no suitable node (insufficient resources on 2 nodes); Spawn failed: no card is free (***)",
        ),
        ("shows a card", "see the profile's cards", "holds 1 cards, not 0"),
        ("leaks a secret", "hold no token but its own", "own token: CONFIGPROXY_AUTH_TOKEN"),
        ("leaks the API token", "hold no token but its own", "own token: HARMLESS"),
        ("keeps tokens", "have its token revoked", "still accepts"),
        ("loses files", "find the file again", "is not there"),
    ],
)
def test_a_fault_fails_its_step_and_is_cleaned_up(hub: Hub, fault: str, step: str, words: str, tmp_path: Path) -> None:
    hub.faults.add(fault)
    walk = probe(hub, CPU)

    assert row(walk, step).outcome == FAILED
    assert words in row(walk, step).detail
    assert f"profile cpu, {step}: " in walk.failures()
    assert walk.rows[-1].step == "clean up"
    assert hub.server is None
    assert list(tmp_path.iterdir()) == [] or fault == "keeps tokens"


def test_a_file_that_cannot_be_removed_is_named(hub: Hub) -> None:
    hub.faults.add("keeps tokens")
    assert "~/.swarmhub-probe stays until the next run" in row(probe(hub, CPU), "clean up").detail


def test_a_node_that_the_hub_ignores_is_noticed(hub: Hub) -> None:
    hub.faults.add("ignores the node")
    assert row(probe(hub, GPU), "start on another node").detail == "asked for n2, but it runs on n1"


def test_another_node_needs_an_administrators_token(hub: Hub) -> None:
    assert (
        "2 nodes fit, but only an administrator"
        in row(probe(hub, GPU, by="form alone"), "start on another node").detail
    )


def test_a_refused_start_tells_the_reason_of_the_event_stream(hub: Hub) -> None:
    hub.faults.add("fails at once")
    assert row(probe(hub, CPU, by="token"), "start a server").detail == "Spawn failed: no card is free (***)"


def test_a_start_that_takes_too_long_ends_with_the_hubs_last_word(hub: Hub) -> None:
    hub.faults.add("never ready")
    walk = probe(hub, CPU, start_timeout=-1)
    assert "the hub's last word: no suitable node" in row(walk, "start a server").detail


def test_a_profile_without_nodes_starts_nothing(hub: Hub) -> None:
    walk = probe(hub, Profile("gpu", 1, []))
    assert "no node of the cluster" in row(walk, "start a server").detail
    assert hub.started == []


def test_a_profile_that_is_not_offered_is_named_beside_those_that_are(hub: Hub) -> None:
    walk = probe(hub, Profile("big", 0, ["n1"]))
    assert row(walk, "start a server").detail == "the spawn page does not offer it, but cpu, gpu"


def test_a_hub_with_one_profile_starts_it_without_a_choice(hub: Hub) -> None:
    hub.only = "cpu"
    assert probe(hub, CPU).failures() == ""
    assert hub.started == [("cpu", "n1"), ("cpu", "n1")]
    walk = probe(hub, Profile("big", 0, ["n1"]))
    assert row(walk, "start a server").detail == "the spawn page offers no choice, and started cpu"
    assert hub.server is None


def test_a_wrong_password_gets_the_pages_own_words(hub: Hub) -> None:
    assert probe(hub, CPU, password="wrong").failures() == "sign in: Invalid username or password."


def test_a_left_over_server_of_the_probes_account_is_stopped_first(hub: Hub) -> None:
    hub.start("cpu")
    walk = probe(hub, CPU)
    assert "stopped the server that an earlier run had left" in row(walk, "sign in").detail
    assert walk.failures() == ""


def test_somebodys_server_is_left_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible.module_utils.swarmhub.probe.PROBE_ACCOUNT", "another")
    hub.start("cpu")
    walk = probe(hub, CPU)
    assert "has a server running" in walk.failures()
    assert hub.server is not None
    assert hub.stops == 0


def test_no_row_holds_a_secret(hub: Hub) -> None:
    hub.faults |= {"fails"}
    text = str(probe(hub, CPU, GPU).rows)
    assert "***" in text
    assert not any(secret in text for secret in (PASSWORD, API_TOKEN, "the-token-of-server"))


def test_a_hub_that_does_not_answer_is_a_failed_row(hub: Hub) -> None:
    hub.server_close()
    url = hub.url
    session = FormSession(url, USER, PASSWORD, start_timeout=1, request_timeout=1, tls=tls_context(None, True))
    walk = Probe(session, None, Redactor(PASSWORD))
    assert not walk.sign_in()
    assert url in walk.failures()


def test_a_page_gives_its_fields_and_errors() -> None:
    page = Page(
        '<div class="error"><h1>403 : Forbidden</h1><p>XSRF <b>cookie</b> does not match</p></div><p>not this</p>'
    )
    assert page.error == "403 : Forbidden XSRF cookie does not match"


def test_a_missing_certificate_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"ca_paths: .*none\.pem"):
        tls_context([str(tmp_path / "none.pem")], True)
