"""What the tests of the hub share: the package on the path, settings, a fake engine."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import socket
import sys
import types
import typing as t
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "images" / "hub"), str(Path(__file__).parent)]

from fake_docker import FakeDocker  # noqa: E402
from jupyterhub import orm  # noqa: E402
from jupyterhub.objects import Hub  # noqa: E402
from jupyterhub.user import User  # noqa: E402
from swarmhub_hub import docker_calls as docker_calls_module  # noqa: E402
from swarmhub_hub.announcements import Announcements  # noqa: E402
from swarmhub_hub.availability import Availability, ClusterLook  # noqa: E402
from swarmhub_hub.notebook_files import notebook_files  # noqa: E402
from swarmhub_hub.queue import Queue  # noqa: E402
from swarmhub_hub.settings import Settings, parse_settings  # noqa: E402
from swarmhub_hub.spawner import SpawnFailed, SwarmhubSpawner  # noqa: E402
from swarmhub_hub.usage import Usage  # noqa: E402


def empty_database(folder: Path | None = None) -> str:
    """The URL of an empty database: sqlite, in memory or in a folder, or on the server SWARMHUB_TEST_DATABASE."""
    server = os.environ.get("SWARMHUB_TEST_DATABASE")
    if not server:
        return f"sqlite:///{folder}/hub.sqlite" if folder else "sqlite:///:memory:"
    name = f"hub_{uuid.uuid4().hex}"
    engine = sa.create_engine(server)
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


def hub_json(homes: Path) -> dict[str, t.Any]:
    return {
        "cluster_name": "test",
        "network": "swarmhub",
        "endpoint_mode": "dnsrr",
        "hub_connect_url": "http://hub:8081",
        "proxy_api_url": "http://proxy-api:8001",
        "db_url": "sqlite:///:memory:",
        "admin_users": ["admin"],
        "homes": {"driver": "bind", "path": "/srv/homes", "mount": str(homes), "nfs_host": "", "nfs_options": ""},
        "profiles": [
            {
                "slug": "cpu",
                "display_name": "CPU <small>",
                "default": True,
                "spawner_override": {"cpu_limit": 2, "cpu_guarantee": 0.5, "mem_limit": "2G", "mem_guarantee": "512M"},
                "constraints": ["node.labels.calculation_type==cpu"],
            },
            {
                "slug": "gpu",
                "display_name": "GPU",
                "spawner_override": {"image": "torch:1", "shm_size": "1G", "environment": {"A": "b"}},
                "constraints": ["node.labels.calculation_type==gpu"],
                "gpus": 1,
                "gpu_model": "A100",
                "groups": ["gpu-users"],
            },
        ],
        "notebook_image": "notebook:1",
        "idle_timeout": 0,
        "start_timeout": 20,
    }


@pytest.fixture
def raw(tmp_path: Path) -> dict[str, t.Any]:
    """A hub.json, decoded; its homes are a real directory."""
    homes = tmp_path / "homes"
    homes.mkdir()
    return hub_json(homes)


@pytest.fixture
def settings(raw: dict[str, t.Any]) -> Settings:
    return parse_settings(raw)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """The fake engine, in the place of the real client."""
    fake = FakeDocker()
    monkeypatch.setitem(docker_calls_module.docker_calls.__dict__, "client", fake)
    monkeypatch.setattr(SwarmhubSpawner, "_slots", None)
    notebook_files.forget()
    return fake


class Places:
    """Makes spawners of users in one database; a start takes two seconds at most, and servers listen on ``port``."""

    def __init__(self, settings: Settings, port: int) -> None:
        self.port = port
        self.settings = dataclasses.replace(settings, start_timeout=2)
        self.db = orm.new_session_factory(empty_database())()
        self.start_hub()

    def start_hub(self) -> Queue:
        """Read the queue, as a hub that is started again does."""
        SwarmhubSpawner.queue = Queue(self.db, self.settings, logging.getLogger())
        SwarmhubSpawner.availability = Availability(ClusterLook(self.settings.cluster_name), SwarmhubSpawner.queue)
        SwarmhubSpawner.announcements = Announcements(self.db)
        SwarmhubSpawner.usage = Usage(self.db, self.settings)
        return SwarmhubSpawner.queue

    def spawner(self, name: str = "alice", admin: bool = False, groups: t.Sequence[str] = ()) -> SwarmhubSpawner:
        memberships = [orm.Group.find(self.db, group) or orm.Group(name=group) for group in groups]
        orm_user = orm.User(name=name, admin=admin, groups=memberships)
        orm_spawner = orm.Spawner(name="", user=orm_user)
        self.db.add(orm_spawner)
        self.db.commit()
        hub = Hub(bind_url="http://:8081", connect_ip="hub")
        spawner = SwarmhubSpawner(
            user=User(orm_user, {"base_url": "/", "hub": hub}, db=self.db),
            orm_spawner=orm_spawner,
            hub=hub,
            settings=self.settings,
            network_name=self.settings.network,
            use_internal_ip=True,
            cmd=["jupyterhub-singleuser"],
            api_token="its-own-token",
            port=self.port,
        )
        spawner.handler = types.SimpleNamespace(expanded_scopes={"admin:servers"} if admin else {"self"})
        return spawner


@pytest.fixture
def server() -> t.Iterator[socket.socket]:
    """What notebooks listen with."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def places(settings: Settings, engine: FakeDocker, server: socket.socket) -> Places:
    return Places(settings, server.getsockname()[1])


def start(spawner: SwarmhubSpawner, **options: str) -> tuple[str, int]:
    async def both() -> tuple[str, int]:
        await spawner._run_apply_user_options(options)
        return await asyncio.wait_for(spawner.start(), spawner.start_timeout)

    return asyncio.run(both())


def message(error: BaseException) -> str:
    return str(t.cast(SpawnFailed, error).jupyterhub_message)
