"""Under which names cards are handed out, and what labels say of them."""

from __future__ import annotations

import itertools
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub import card_kinds


def card(uuid: str, name: str = "NVIDIA RTX A6000", memory: int = 49140, mig: tuple[str, ...] = ()) -> dict[str, t.Any]:
    """Return a card, in MIG mode when it has instances (``mig``: their profiles)."""
    parts = [{"profile": profile, "uuid": f"MIG-{uuid}{number}"} for number, profile in enumerate(mig)]
    return {"uuid": uuid, "name": name, "memory_mb": memory, "mig": bool(mig), "instances": parts}


A, B = card("GPU-a"), card("GPU-b")
GAMER = card("GPU-g", "NVIDIA GeForce RTX 3090", 24576)
CUT = card("GPU-m", "NVIDIA A100-SXM4-80GB", 81920, ("1g.10gb", "1g.10gb", "2g.20gb", "1g.10gb+me"))


@pytest.mark.parametrize(
    ("cards", "exclude", "shared", "expected"),
    [
        ([], [], [], {}),
        ([B, A], [], [], {"GPU": ["GPU-a", "GPU-b"]}),
        ([A, B], ["GPU-a"], [], {"GPU": ["GPU-b"]}),
        ([A, B], [], ["GPU-b"], {"GPU": ["GPU-a"]}),
        ([A, GAMER, B], [], [], {"GPU_GEFORCE_RTX_3090": ["GPU-g"], "GPU_RTX_A6000": ["GPU-a", "GPU-b"]}),
        # An excluded card makes no mixture; a shared one does, since the label gpu_model must be true of both.
        ([A, GAMER], ["GPU-g"], [], {"GPU": ["GPU-a"]}),
        ([A, GAMER], [], ["GPU-g"], {"GPU_RTX_A6000": ["GPU-a"]}),
        (
            [A, CUT],
            [],
            [],
            {
                "GPU": ["GPU-a"],
                "MIG_1G_10GB": ["MIG-GPU-m0", "MIG-GPU-m1"],
                "MIG_1G_10GB_ME": ["MIG-GPU-m3"],
                "MIG_2G_20GB": ["MIG-GPU-m2"],
            },
        ),
        ([A, CUT], ["GPU-m"], [], {"GPU": ["GPU-a"]}),
        ([CUT], ["MIG-GPU-m0", "MIG-GPU-m3"], ["MIG-GPU-m2"], {"MIG_1G_10GB": ["MIG-GPU-m1"]}),
        ([{**CUT, "instances": []}], [], [], {}),
    ],
)
def test_kinds(cards: list[t.Any], exclude: list[str], shared: list[str], expected: dict[str, list[str]]) -> None:
    assert card_kinds.kinds(cards, exclude, shared) == expected


def test_the_configuration_does_not_depend_on_the_drivers_order() -> None:
    rendered = {
        tuple(card_kinds.generic_resources(card_kinds.kinds(order)))
        for order in itertools.permutations([A, B, GAMER, CUT])
    }
    (resources,) = rendered
    assert resources[:3] == ("GPU_GEFORCE_RTX_3090=GPU-g", "GPU_RTX_A6000=GPU-a", "GPU_RTX_A6000=GPU-b")
    assert list(resources) == sorted(resources)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], "DOCKER_RESOURCE_GPU"),
        (["GPU"], "DOCKER_RESOURCE_GPU"),
        (
            ["MIG_1G_10GB", "GPU_B", "SSD", "GPU_A", "GPU_A"],
            "DOCKER_RESOURCE_GPU,DOCKER_RESOURCE_GPU_A,DOCKER_RESOURCE_GPU_B,DOCKER_RESOURCE_MIG_1G_10GB",
        ),
    ],
)
def test_the_toolkit_follows_the_hosts_own_kinds(found: list[str], expected: str) -> None:
    assert card_kinds.swarm_resource(found) == expected


@pytest.mark.parametrize(
    ("cards", "kept", "expected"),
    [
        ([], {}, {}),
        ([A], {"exclude": ["GPU-a"]}, {}),
        ([A, B], {}, {"gpu_model": "rtx-a6000", "gpu_count": "2", "gpu_memory_gb": "48"}),
        ([A, GAMER], {}, {"gpu_count": "2", "gpu_memory_gb": "24"}),
        (
            [A, B],
            {"shared": ["GPU-b", "GPU-not-here", "GPU-a"]},
            {"gpu_model": "rtx-a6000", "gpu_count": "0", "gpu_memory_gb": "48", "gpu_shared": "GPU-a,GPU-b"},
        ),
        ([A, CUT], {"shared": ["MIG-GPU-m0"]},
         {"gpu_model": "rtx-a6000", "gpu_count": "2", "gpu_memory_gb": "48", "gpu_shared": "MIG-GPU-m0"}),
        ([CUT], {}, {"gpu_count": "1", "gpu_memory_gb": "80"}),
        ([{**A, "memory_mb": 0}], {}, {"gpu_model": "rtx-a6000", "gpu_count": "1"}),
    ],
)  # fmt: skip
def test_labels(cards: list[t.Any], kept: dict[str, list[str]], expected: dict[str, str]) -> None:
    assert card_kinds.labels(cards, **kept) == expected


@pytest.mark.parametrize(
    ("advertised", "pool", "expected"),
    [
        ({"GPU": ["GPU-a"]}, {"GPU": ["GPU-a"]}, ""),
        ({"SSD": ["x"], "GPU": ["GPU-a"]}, {"GPU": ["GPU-a"]}, ""),
        (
            {"GPU": ["GPU-a", "GPU-old"]},
            {"GPU": ["GPU-a", "GPU-b"]},
            "card GPU-old is gone, GPU-b is not advertised yet",
        ),
        ({"GPU": ["GPU-a", "GPU-b"]}, {"GPU": ["GPU-a"]}, "card GPU-b leaves the pool"),
        ({"GPU": ["GPU-a"]}, {"GPU_RTX_A6000": ["GPU-a"]}, "card GPU-a becomes GPU_RTX_A6000 and is GPU"),
    ],
)
def test_a_change_of_cards_is_one_sentence(advertised: card_kinds.Kinds, pool: card_kinds.Kinds, expected: str) -> None:
    said = card_kinds.changes(advertised, pool, card_kinds.uuids([A, B]))
    assert said == (f"{expected}: the engine restarts with the new list when no notebook runs" if expected else "")


@pytest.mark.parametrize(
    ("model", "offered", "one_model", "expected"),
    [
        ("", ["GPU_A", "GPU_B", "MIG_1G_10GB", "SSD"], "", ["GPU_A", "GPU_B"]),
        ("rtx-a6000", ["GPU"], "rtx-a6000", ["GPU"]),
        ("RTX-A6000", ["GPU"], "rtx-a6000", ["GPU"]),
        ("rtx-a6000", ["GPU"], "rtx-3090", []),
        ("rtx-a6000", ["GPU_RTX_A6000", "GPU_RTX_3090"], "", ["GPU_RTX_A6000"]),
        ("mig-1g-10gb", ["GPU", "MIG_1G_10GB"], "rtx-a6000", ["MIG_1G_10GB"]),
    ],
)
def test_a_model_is_found_by_its_kind_or_by_the_label(
    model: str, offered: list[str], one_model: str, expected: list[str]
) -> None:
    assert card_kinds.kinds_of(model, offered, one_model) == expected


def test_the_hub_names_kinds_as_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "images/hub")
    from swarmhub_hub import nodes

    for model in ("rtx-a6000", "a100-sxm4-80gb", "mig-1g-10gb-me"):
        assert nodes.kind_of(model) == card_kinds.kind_of(model)
    for kind in ("GPU", "GPU_RTX_A6000", "MIG_1G_10GB", "SSD"):
        assert nodes.is_cards(kind) is card_kinds.is_cards(kind)
    assert nodes.GPU_KIND == card_kinds.GPU_KIND
