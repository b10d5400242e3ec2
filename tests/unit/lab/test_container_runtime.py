"""The stand-in for nvidia-container-runtime, out of its package: what it makes of a bundle, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from labkit import stand_ins
from labkit.cards import describe

UUIDS = [f"GPU-11111111-0000-4000-8000-00000000000{number}" for number in range(3)]
SWARM = 'swarm-resource = "DOCKER_RESOURCE_GPU"\n'
PRIVILEGED_ONLY = "accept-nvidia-visible-devices-envvar-when-unprivileged = false\n" + SWARM
LEGACY = SWARM + '[nvidia-container-runtime]\nmode = "legacy"\n'
NOT_THERE = "GPU-99999999-0000-4000-8000-000000000000"
MIG = describe(UUIDS[:2], "NVIDIA A100-SXM4-40GB", mig={0: ["3g.20gb", "1g.5gb"]})
INSTANCES = [instance["uuid"] for instance in MIG["cards"][0]["mig"] or []]


class Outcome(t.NamedTuple):
    """What became of a container: code and words of the runtime, bundle, line in the log."""

    code: int
    said: str
    spec: dict[str, t.Any]
    logged: dict[str, t.Any]

    def files(self) -> list[str]:
        return [device["path"] for device in self.spec["linux"].get("devices", [])]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed files of each version of the toolkit."""
    folder = tmp_path_factory.mktemp("packages")
    stand_ins.build(folder)
    for version in stand_ins.TOOLKIT_VERSIONS:
        for name, its_version in (("nvidia-container-toolkit-base", version), ("nvidia-smi", "550.163.01-2+lab")):
            stand_ins.unpack(stand_ins.deb(folder, name, its_version), folder / version)
    return folder


@pytest.fixture
def create(roots: Path, tmp_path: Path) -> t.Any:
    (tmp_path / "bin").mkdir()
    runc = tmp_path / "bin" / "runc"
    runc.write_text('#!/bin/sh\necho "runc $*"\n')
    runc.chmod(0o755)

    def call(
        *variables: str, host: t.Any = None, config: str = SWARM, version: str = "1.20.0-1", bounding: str = ""
    ) -> Outcome:
        (tmp_path / "cards").write_text(json.dumps(host or describe(UUIDS[:2])))
        (tmp_path / "config.toml").write_text(config)
        bundle = tmp_path / "bundle"
        bundle.mkdir()
        capabilities = {"bounding": bounding.split()}
        spec = {"process": {"env": list(variables), "capabilities": capabilities}, "linux": {}}
        (bundle / "config.json").write_text(json.dumps(spec))
        done = subprocess.run(
            [roots / version / "usr/bin/nvidia-container-runtime", "--root", "/x", "create", "--bundle", bundle, "one"],
            env={
                "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
                "SWARMHUB_LAB_CARDS": str(tmp_path / "cards"),
                "SWARMHUB_LAB_LOG": str(tmp_path / "log"),
                "NVIDIA_CTK_CONFIG_FILE_PATH": str(tmp_path / "config.toml"),
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        (line,) = (tmp_path / "log").read_text().splitlines()
        changed = json.loads((bundle / "config.json").read_text())
        assert done.returncode or done.stdout == f"runc --root /x create --bundle {bundle} one\n"
        return Outcome(done.returncode, done.stderr.strip(), changed, json.loads(line))

    return call


def test_a_container_gets_its_card_and_nvidia_smi_for_it(create: t.Any, tmp_path: Path) -> None:
    seen = create("NVIDIA_VISIBLE_DEVICES=all", f"DOCKER_RESOURCE_GPU={UUIDS[1]}", "PATH=/bin")
    assert (seen.code, seen.said) == (0, "")
    assert seen.files() == ["/dev/nvidiactl", "/dev/nvidia1"]
    assert seen.spec["linux"]["devices"][1] | {"major": 195, "minor": 1} == seen.spec["linux"]["devices"][1]
    assert {"allow": True, "type": "c", "major": 195, "minor": 1, "access": "rwm"} in (
        seen.spec["linux"]["resources"]["devices"]
    )
    assert seen.logged == {
        "container": "one",
        "mode": "jit-cdi",
        "variables": {"DOCKER_RESOURCE_GPU": UUIDS[1], "NVIDIA_VISIBLE_DEVICES": "all"},
        "given": [UUIDS[1]],
        "refused": "",
    }
    assert seen.spec["process"]["env"][-1] == "NVIDIA_VISIBLE_DEVICES=void"
    mounts = {mount["destination"]: Path(mount["source"]) for mount in seen.spec["mounts"]}
    assert set(mounts) == {"/etc/swarmhub-lab", "/usr/bin/nvidia-smi"}
    listing = f"GPU 0: NVIDIA RTX A6000 (UUID: {UUIDS[1]})\n"
    empty = {"PATH": ""}  # an image without Python
    done = subprocess.run(["/bin/sh", mounts["/usr/bin/nvidia-smi"], "-L"], env=empty, capture_output=True, text=True)  # noqa: PLW1510
    assert (done.stdout, done.returncode) == (listing, 0)
    cards = json.loads((mounts["/etc/swarmhub-lab"] / "cards").read_text())
    assert [(card["index"], card["uuid"]) for card in cards["cards"]] == [(0, UUIDS[1])]


@pytest.mark.parametrize(
    ("variables", "options", "given"),
    [
        (["A=b"], {}, []),
        (["NVIDIA_VISIBLE_DEVICES=void"], {}, []),
        (["NVIDIA_VISIBLE_DEVICES=all"], {}, UUIDS[:2]),
        (["NVIDIA_VISIBLE_DEVICES=1,0"], {}, UUIDS[:2]),
        (["NVIDIA_VISIBLE_DEVICES=all"], {"host": describe([])}, []),
        ([f"DOCKER_RESOURCE_GPU={UUIDS[1]}", "NVIDIA_VISIBLE_DEVICES=void"], {}, [UUIDS[1]]),
        # a count in place of names is taken for an index
        (["DOCKER_RESOURCE_GPU=1", "NVIDIA_VISIBLE_DEVICES=void"], {}, [UUIDS[1]]),
        # 1.18 does not follow swarm, but in mode legacy
        ([f"DOCKER_RESOURCE_GPU={UUIDS[1]}", "NVIDIA_VISIBLE_DEVICES=void"], {"version": "1.18.2-1"}, []),
        ([f"DOCKER_RESOURCE_GPU={UUIDS[1]}", "NVIDIA_VISIBLE_DEVICES=all"], {"version": "1.18.2-1"}, UUIDS[:2]),
        ([f"DOCKER_RESOURCE_GPU={UUIDS[1]}"], {"version": "1.18.2-1", "config": LEGACY}, [UUIDS[1]]),
        ([f"DOCKER_RESOURCE_GPU={UUIDS[1]}"], {"version": "1.19.0-1"}, [UUIDS[1]]),
        # nor does a toolkit that is not told
        ([f"DOCKER_RESOURCE_GPU={UUIDS[1]}", "NVIDIA_VISIBLE_DEVICES=void"], {"config": ""}, []),
        # a list of kinds works in mode legacy alone
        (["DOCKER_RESOURCE_GPU=1"], {"config": LEGACY.replace("GPU", "A,DOCKER_RESOURCE_GPU")}, [UUIDS[1]]),
        (["DOCKER_RESOURCE_GPU=1"], {"config": SWARM.replace("GPU", "A,DOCKER_RESOURCE_GPU")}, []),
        # instances
        ([f"DOCKER_RESOURCE_GPU={INSTANCES[1]}"], {"host": MIG}, [INSTANCES[1]]),
        (["DOCKER_RESOURCE_GPU=0:0,1"], {"host": MIG}, [INSTANCES[0], UUIDS[1]]),
        ([f"DOCKER_RESOURCE_GPU={UUIDS[0]}"], {"host": MIG}, INSTANCES),
        # variables for the privileged
        (["DOCKER_RESOURCE_GPU=1"], {"config": PRIVILEGED_ONLY}, []),
        (["DOCKER_RESOURCE_GPU=1"], {"config": PRIVILEGED_ONLY, "bounding": "CAP_SYS_ADMIN"}, [UUIDS[1]]),
        # a card that is off the bus does not keep others from their container
        ([f"DOCKER_RESOURCE_GPU={UUIDS[1]}"], {"host": describe(UUIDS[:2], lost=[0])}, [UUIDS[1]]),
        (["DOCKER_RESOURCE_GPU=GPU-11111111-0000-4000-8000-000000000001"[:-1]], {"config": LEGACY}, UUIDS[:1]),
        # who asks for no card may start under any driver
        (["NVIDIA_VISIBLE_DEVICES=void"], {"host": describe(UUIDS[:2], fault="not loaded")}, []),
    ],
)  # fmt: skip
def test_what_is_given(create: t.Any, variables: list[str], options: dict[str, t.Any], given: list[str]) -> None:
    seen = create(*variables, **options)
    assert (seen.code, seen.said, seen.logged["given"]) == (0, "", given)


def test_none_brings_nvidia_smi_without_a_card(create: t.Any) -> None:
    seen = create("NVIDIA_VISIBLE_DEVICES=none")
    assert seen.files() == ["/dev/nvidiactl"]
    assert "No devices were found" in (Path(seen.spec["mounts"][0]["source"]) / "nvidia-smi").read_text()


def test_mode_legacy_brings_nvidia_smi_as_a_capability(create: t.Any) -> None:
    seen = create("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute", config=LEGACY)
    assert seen.files() == ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia1"]
    assert "mounts" not in seen.spec
    assert "NVIDIA_VISIBLE_DEVICES=all" in seen.spec["process"]["env"]


JIT = "failed to construct OCI spec modifier:"
CLI = "nvidia-container-cli:"


@pytest.mark.parametrize(
    ("asked", "host", "words"),
    [
        (
            NOT_THERE, None,
            (f'{JIT} failed to get NVML device handle for identifier "{NOT_THERE}": Not Found',
            f"{CLI} device error: {NOT_THERE}: unknown device"),
        ),
        (
            "GPU-1234", None,
            (f'{JIT} failed to get NVML device handle for identifier "GPU-1234": '
            'identifier is not a valid UUID or index: "GPU-1234"',
            f"{CLI} device error: GPU-1234: unknown device"),
        ),
        (
            UUIDS[0], describe(UUIDS[:2], lost=[0]),
            (f'{JIT} failed to get NVML device handle for identifier "{UUIDS[0]}": Unknown Error',
            f"{CLI} detection error: nvml error: unknown error"),
        ),
        (
            "all", describe(UUIDS[:2], fault="not loaded"),
            (f"{JIT} failed to initialize NVML: Driver Not Loaded",
            f"{CLI} initialization error: nvml error: driver not loaded"),
        ),
        (
            "0", describe(UUIDS[:2], library="550.90.07"),
            (f"{JIT} failed to initialize NVML: Driver/library version mismatch",
            f"{CLI} initialization error: nvml error: driver/library version mismatch"),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("config", [SWARM, LEGACY], ids=["jit-cdi", "legacy"])
def test_what_is_refused(create: t.Any, config: str, asked: str, host: t.Any, words: tuple[str, str]) -> None:
    seen = create(f"DOCKER_RESOURCE_GPU={asked}", host=host, config=config)
    assert (seen.code, seen.said) == (1, words[config == LEGACY])
    assert (seen.logged["refused"], seen.logged["given"]) == (seen.said, [])


def test_other_calls_go_through_untouched(create: t.Any, roots: Path, tmp_path: Path) -> None:
    create("A=b")
    program = roots / "1.20.0-1/usr/bin/nvidia-container-runtime"
    path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = subprocess.run([program, "delete", "one"], env=path, capture_output=True, text=True, check=True)
    assert done.stdout == "runc delete one\n"
