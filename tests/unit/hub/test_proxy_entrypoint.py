"""The proxy's entrypoint: its API is bound to our address in the API network, or nothing starts."""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from conftest import ROOT

ENTRYPOINT = ROOT / "images" / "proxy" / "entrypoint"


@pytest.fixture
def run(tmp_path: Path) -> t.Callable[..., subprocess.CompletedProcess[str]]:
    """Run the entrypoint with stand-ins for `hostname -I` and the proxy."""
    (tmp_path / "token").write_text("t0ken\n")
    for name, text in {
        "hostname": 'echo "10.10.0.7 10.11.0.5 172.30.1.2 fd00::5 "',
        "proxy": 'echo "$CONFIGPROXY_AUTH_TOKEN" "$@"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PROXY_PROGRAM": str(tmp_path / "proxy"),
            "CONFIGPROXY_AUTH_TOKEN_FILE": str(tmp_path / "token"),
            **environment,
        }
        return subprocess.run(
            [ENTRYPOINT, *arguments], env=env, capture_output=True, text=True, timeout=10, check=False
        )

    return run


@pytest.mark.parametrize(
    ("cidr", "address"), [("10.11.0.0/24", "10.11.0.5"), ("10.8.0.0/14", "10.10.0.7"), ("172.30.1.2/32", "172.30.1.2")]
)
def test_the_api_listens_on_our_address_in_the_network(run: t.Callable[..., t.Any], cidr: str, address: str) -> None:
    done = run("--default-target=http://hub:8081", API_CIDR=cidr)
    assert done.stdout.split() == [
        "t0ken",
        "--ip=0.0.0.0",
        "--port=8000",
        f"--api-ip={address}",
        "--api-port=8001",
        "--log-level=warn",
        f"--metrics-ip={address}",
        "--metrics-port=8002",
        "--default-target=http://hub:8081",
    ]


def test_c_the_seeds_command_and_its_one_network(run: t.Callable[..., t.Any]) -> None:
    done = run("configurable-http-proxy", "--error-target", "http://hub/hub/error", CONFIGPROXY_AUTH_TOKEN="abc123")
    assert done.stdout.split()[:4] == ["abc123", "--ip=0.0.0.0", "--port=8000", "--api-ip=0.0.0.0"]
    assert done.stdout.split()[6:] == ["--error-target", "http://hub/hub/error"]
    assert "only the token is in the way" in done.stderr


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "API_CIDR is not set"),
        ({"API_CIDR": "10.12.0.0/24"}, "none of the addresses"),
        ({"API_CIDR": "10.11.0.0"}, "API_CIDR is '10.11.0.0'"),
        ({"API_CIDR": "10.11.0.0/33"}, "API_CIDR is '10.11.0.0/33'"),
        ({"API_CIDR": "10.11.0.300/24"}, "API_CIDR is"),
        (
            {"API_CIDR": "10.11.0.0/24", "CONFIGPROXY_AUTH_TOKEN_FILE": "/nowhere"},
            "cannot read the token file /nowhere",
        ),
        ({"API_CIDR": "10.11.0.0/24", "CONFIGPROXY_AUTH_TOKEN_FILE": "/dev/null"}, "is empty"),
    ],
)
def test_nothing_starts_half_configured(run: t.Callable[..., t.Any], environment: dict[str, str], words: str) -> None:
    done = run(**environment)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stdout == ""
