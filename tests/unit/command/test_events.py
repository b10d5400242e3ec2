"""What is read of ansible-runner's events, and what of it is shown and kept."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from command.conftest import EVENTS, keep, recorded
from swarmhub import cli_run, record, words
from swarmhub.events import HIDDEN, Event, read
from swarmhub.masks import MASK, Masks
from swarmhub.plan import Plan
from swarmhub.progress import Progress
from swarmhub.report import render

PASSWORD = "hunter2-hunter2"  # an argument and a result of the recorded play
GIVEN = f"password={PASSWORD}=x\nand more"


def test_each_kind_is_read() -> None:
    events = recorded("failing")
    kinds = {(event.kind, event.host) for event in events}
    assert {("play", ""), ("unreachable", "gone"), ("failed", "two"), ("skipped", "two"), ("retry", "one")} <= kinds
    assert [event.task for event in events if event.bad and event.kind == "failed"] == ["Wait until the hub serves"]
    assert [event.host for event in events if event.ignored] == ["one", "two"]
    assert sum(event.kind == "item" for event in events) == 4
    assert all(event.seconds > 0 for event in events if event.kind in ("ok", "failed"))


def test_counts_are_those_of_a_recap(run: record.Run) -> None:
    assert run.hosts["one"] == {"ok": 10, "changed": 3, "skipped": 0, "failed": 0, "unreachable": 0}
    assert run.hosts["two"] == {"ok": 6, "changed": 3, "skipped": 1, "failed": 1, "unreachable": 0}
    assert {(change["host"], change["task"]) for change in run.changes} >= {("one", "Make some folders")}
    assert len(run.changes) == 6, "a loop is one change"
    assert [play["name"] for play in run.plays] == ["Prepare the hosts", "Settle the cluster"]
    assert run.differences[0] == "one — host: package chrony missing"


def test_no_secret_is_in_any_record(tmp_path: Path) -> None:
    assert PASSWORD in (EVENTS / "failing.jsonl").read_text(), "the play had it in an argument and a result"
    run = keep(tmp_path, "failing", "failed")
    (tmp_path / "report.html").write_text(render(run, record.events(tmp_path, run.id)))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"run.json", "events.jsonl", "report.html"}
    for path in files:
        assert PASSWORD not in path.read_text(), path


def test_a_record_reads_back(tmp_path: Path, run: record.Run) -> None:
    assert record.load(tmp_path, "latest") == run
    kept = list(record.events(tmp_path, run.id))
    assert len(kept) == len(recorded("failing"))
    assert not any(event.said or event.diff for event in kept)


def test_an_id_is_no_way_out_of_the_folder(tmp_path: Path, run: record.Run) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(record.Refused):
        record.load(tmp_path / "runs", f"../{run.id}")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        pytest.param({"censored": "hidden"}, HIDDEN, id="hidden"),
        pytest.param(
            {
                "msg": "One or more items failed",
                "results": [
                    {"_ansible_item_label": "hub", "failed": True, "msg": "Task failed: no disk"},
                    {"_ansible_item_label": "proxy", "changed": True},
                    {"_ansible_item_label": "notebook", "failed": True, "censored": "hidden"},
                ],
            },
            f"hub: no disk\nnotebook: {HIDDEN}",
            id="items of a loop",
        ),
    ],
)
def test_a_failed_task_says_why(result: dict[str, object], message: str) -> None:
    seen = read(
        {
            "event": "runner_on_failed",
            "created": "2026-01-01T00:00:00+00:00",
            "event_data": {"host": "one", "task": "x", "res": result},
        }
    )
    assert seen is not None
    assert seen.message == message


def test_masks_know_the_secrets_of_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "db_password").write_text("abcdefgh12345\n")
    (tmp_path / "secrets" / "tls.crt").write_text("a public line\n")
    masks = Masks.of_inventory(tmp_path)
    assert masks("refused: abcdefgh12345, a public line") == f"refused: {MASK}, a public line"


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["-e", GIVEN, "--yes"], "apply -e password=… --yes"),
        ([f"-e{GIVEN}"], "apply -epassword=…"),
        (["--extra-vars", GIVEN], "apply --extra-vars password=…"),
        ([f"--extra-vars={GIVEN}"], "apply --extra-vars=password=…"),
        (["-Ke", GIVEN], "apply -Ke password=…"),
        ([f"-ye{GIVEN}"], "apply -yepassword=…"),
    ],
)
def test_a_command_is_kept_without_values(words: list[str], kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["swarmhub", "apply", *words])
    assert cli_run._command([GIVEN]) == kept


def test_a_failure_says_host_reason_and_next_step(run: record.Run) -> None:
    text = "\n".join(words.failures(run))
    assert "✗ two · Settle the cluster · Wait until the hub serves\n  the hub does not serve" in text
    assert text.count("✗ gone") == 1, "who does not answer is told once"
    assert "ansible gone -m ping" in text
    assert words.AGAIN in text
    assert "{" not in text


def test_an_interrupted_run_says_what_is_half_done(tmp_path: Path) -> None:
    recorder = record.Recorder(tmp_path, command="apply", playbook="site.yml", inventory=Path("h"), check=False)
    for event in recorded("failing"):
        if event.kind == "ok" and event.task == "Make some folders":
            break
        recorder.add(event)
    recorder.add(Event("failed", time.time(), "Prepare the hosts", "Make some folders", "two", message="no room"))
    text = "\n".join(words.ending(recorder.end("interrupted")))
    assert "no room" in text
    assert "Stopped in the phase “Prepare the hosts”." in text
    assert "Cut short on one: Make some folders." in text
    assert "Changed by then: one (1), two (1)." in text


def test_a_killed_run_is_told_from_one_that_goes_on(tmp_path: Path) -> None:
    recorder = record.Recorder(tmp_path, command="apply", playbook="site.yml", inventory=Path("h"), check=False)
    assert words.ending(record.load(tmp_path, "latest")) == ["still running"]
    recorder.run.pid = 2**22 + 1  # more than any process has
    assert words.ending(recorder.run)[0].startswith("killed")


def test_the_plan_shows_hosts_cluster_and_what_waits() -> None:
    plan = Plan()
    for event in recorded("check"):
        plan.add(event)
    assert plan.by_host["two"] == ["docker_engine: file /etc/docker/daemon.json content differs"]
    assert plan.pending[0].startswith("two — docker_engine")
    lines = plan.lines()
    assert "    +plain" in lines
    assert lines.index("one") < lines.index("pending:")
    assert json.dumps(lines)


def test_nothing_to_do_is_said() -> None:
    assert Plan().lines() == ["Nothing differs from what is wanted."]


def test_estimates_are_medians_of_runs_that_ended_well(tmp_path: Path) -> None:
    for outcome, factor in (("well", 1), ("well", 3), ("well", 100), ("failed", 7)):
        kept = keep(tmp_path, "failing", outcome)
        path = tmp_path / kept.id / "run.json"
        content = json.loads(path.read_text())
        content["plays"] = [{"name": "Prepare the hosts", "started": 0, "seconds": factor}]
        path.write_text(json.dumps(content))
    here = Path("hosts.yml")
    assert record.estimates(tmp_path, "site.yml", here, False) == {"Prepare the hosts": 3}
    assert record.estimates(tmp_path, "site.yml", here, True) == {}
    assert record.estimates(tmp_path, "site.yml", Path("other.yml"), False) == {}, "another cluster takes other times"


def test_what_a_newer_checkout_has_kept_is_read(tmp_path: Path) -> None:
    kept = keep(tmp_path, "failing", "failed")
    path = tmp_path / kept.id / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "mood": "good"}))
    assert record.load(tmp_path, kept.id) == kept


def test_failures_that_the_playbook_put_up_with_are_none(tmp_path: Path) -> None:
    assert keep(tmp_path, "failing", "well").failures == []


def test_progress_knows_who_is_waited_for_and_how_long() -> None:
    progress = Progress({"Prepare the hosts": 10.0, "Settle the cluster": 5.0})
    events = recorded("failing")
    starts = [number for number, event in enumerate(events) if event.kind == "start" and event.task == "Write a file"]
    for event in events[: starts[1] + 1]:
        progress.add(event)
    assert progress.waiting_for() == ["one", "two"]
    assert progress.remaining(progress.phases[0].begun + 4) == pytest.approx(11)
    assert progress.remaining(progress.phases[0].begun + 40) is None, "there is more to do than usually"


def test_the_report_stands_alone(tmp_path: Path, run: record.Run) -> None:
    page = render(run, record.events(tmp_path, run.id))
    assert "http" not in page
    assert page.count('class="lane"') == 4 + 1, "phases, three hosts, the scale"
    assert "prefers-color-scheme: dark" in page
    hostile = record.Run(**{**vars(run), "command": "<script>"})
    assert "<script>" not in render(hostile, [])


def test_two_runs_are_compared(tmp_path: Path, run: record.Run) -> None:
    other = keep(tmp_path, "failing", "well")
    other.changes.pop()
    found = record.compare(run, other)
    assert len(found["only_first"]) == 1
    assert found["only_second"] == []
    assert [each["name"] for each in found["plays"]] == ["Prepare the hosts", "Settle the cluster"]
