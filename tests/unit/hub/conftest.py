"""What the tests of the hub share: the package on the path, settings, a fake engine."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "images" / "hub"), str(Path(__file__).parent)]

from fake_docker import FakeDocker  # noqa: E402
from swarmhub_hub import docker_calls as docker_calls_module  # noqa: E402
from swarmhub_hub.settings import Settings, parse_settings  # noqa: E402
from swarmhub_hub.spawner import SwarmhubSpawner  # noqa: E402


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
    return fake
