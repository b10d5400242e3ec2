"""The files that every notebook gets: made, mended, replaced; and what Jupyter and IPython read in them."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Places, start
from fake_docker import FakeDocker
from swarmhub_hub import notebook_files
from swarmhub_hub.notebook_files import SOURCES, TARGETS, config_name

NAMES = {config_name(what) for what in TARGETS}


def test_every_notebook_gets_the_files_and_they_are_made_once(places: Places, engine: FakeDocker) -> None:
    start(places.spawner("alice"))
    assert set(engine.kept) == NAMES
    made = dict(engine.kept)
    start(places.spawner("bob"))
    assert engine.kept == made
    for service in engine.created:
        configs = service["task_template"]["ContainerSpec"]["Configs"]
        assert {each["File"]["Name"] for each in configs} == set(TARGETS.values())
        for each in configs:
            assert (each["File"]["UID"], each["File"]["GID"], each["File"]["Mode"]) == ("0", "0", 0o444)
            assert each["ConfigID"] == engine.kept[each["ConfigName"]]["ID"]
    assert all(each["Spec"]["Labels"] == {"swarmhub.cluster": "test"} for each in engine.kept.values())


def test_files_that_somebody_took_away_are_made_again(places: Places, engine: FakeDocker) -> None:
    start(places.spawner("alice"))
    engine.kept.clear()
    start(places.spawner("bob"))
    assert (set(engine.kept), len(engine.created)) == (NAMES, 2)


def test_older_files_go_unless_they_are_used_or_not_ours(places: Places, engine: FakeDocker) -> None:
    for name, cluster in (("old", "test"), ("running", "test"), ("foreign", "other")):
        engine.create_config(f"swarmhub-notebook-{name}", b"", {"swarmhub.cluster": cluster})
    engine.create_config("swarmhub-hub-json", b"", {"swarmhub.cluster": "test"})
    engine.used = {"swarmhub-notebook-running"}
    start(places.spawner())
    kept = {"swarmhub-notebook-running", "swarmhub-notebook-foreign", "swarmhub-hub-json"}
    assert set(engine.kept) == NAMES | kept


def test_another_hub_that_was_faster_is_no_failure(places: Places, engine: FakeDocker) -> None:
    answer, told = engine.configs, iter([[]])
    engine.configs = lambda filters: next(told, None) or answer(filters)  # type: ignore[method-assign]
    for name in NAMES:
        engine.create_config(name, b"", {})
    start(places.spawner())
    assert len(engine.created) == 1


def test_names_fit_and_every_file_is_mounted() -> None:
    assert all(len(name) <= 64 for name in NAMES)
    assert len(NAMES) == len(TARGETS) == sum(path.is_file() for path in SOURCES.iterdir())


def test_no_database_is_to_be_in_a_home() -> None:
    said = [json.loads((SOURCES / what).read_text()) for what in ("jupyter_config.json", "ipython_config.json")]
    traits = [pair for each in said for chosen in each.values() for pair in chosen.items()]
    paths = [value for key, value in traits if key.endswith(("_file", "_path"))]
    assert len(paths) == 3
    assert all(path == ":memory:" or Path(path).parent == Path("/tmp") for path in paths)  # noqa: S108


def test_what_switches_the_extensions_on_names_them_and_their_place() -> None:
    switched = json.loads((SOURCES / "jupyter_server_config.json").read_text())["ServerApp"]["jpserver_extensions"]
    modules = [Path(target) for target in TARGETS.values() if target.endswith(".py") and "swarmhub" in target]
    assert switched == {module.stem: True for module in modules}
    (place,) = {module.parent for module in modules}
    assert f'sys.path.append("{place}")' in (SOURCES / "jupyter_config.py").read_text()


def test_a_refusal_for_another_reason_is_told_as_it_is() -> None:
    error = notebook_files.APIError("no", explanation="invalid mount config")
    assert not notebook_files.is_missing_config(error)
