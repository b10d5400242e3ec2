"""Under which names the cards of a host are handed out: kinds of generic resources, and what labels say of them.

Swarm hands out a node's named generic resources by kind, and tells a task which it has got in the variable
``DOCKER_RESOURCE_<KIND>`` (https://github.com/moby/swarmkit/tree/master/api/genericresource). A host whose whole cards
are of one model has the kind ``GPU`` and the model as its label ``gpu_model``; a host that mixes models has a kind for
each, ``GPU_RTX_A6000``, and no such label, since none would be true of all its cards. A card in MIG mode is handed out
as its instances, ``MIG_1G_10GB``.

Everywhere here ``cards`` are those of gpus.read, ``exclude`` and ``shared`` UUIDs of cards or instances: excluded ones
are nobody's, shared ones are kept out of the pool and for profiles with ``gpu_shared``.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible.module_utils.swarmhub.profiles import slugify

Card = Mapping[str, t.Any]
Kinds = dict[str, list[str]]

GPU_KIND = "GPU"
VARIABLE = "DOCKER_RESOURCE_"


def model_slug(name: str) -> str:
    """Return a model as labels and profiles name it: ``NVIDIA RTX A6000`` gives ``rtx-a6000``."""
    return slugify(name.removeprefix("NVIDIA "))


def instance_slug(instance: Mapping[str, str]) -> str:
    """Return an instance's profile as profiles of the hub name it: ``1g.10gb`` gives ``mig-1g-10gb``."""
    return slugify(f"mig-{instance['profile']}")


def kind_of(model: str) -> str:
    """Return the kind of a model on a host that mixes models (``rtx-a6000``), or of an instance (``mig-1g-10gb``)."""
    name = model.upper().replace("-", "_")
    return name if name.startswith("MIG_") else f"{GPU_KIND}_{name}"


def uuids(cards: Iterable[Card]) -> list[str]:
    """Return the UUIDs of all cards and MIG instances."""
    return [uuid for card in cards for uuid in (card["uuid"], *(each["uuid"] for each in card.get("instances", [])))]


def whole_models(cards: Iterable[Card], exclude: Iterable[str] = ()) -> list[str]:
    """Return the models of the whole cards that people may use, each once, sorted."""
    out = set(exclude)
    return sorted({model_slug(card["name"]) for card in cards if not card.get("mig") and card["uuid"] not in out})


def models(cards: Iterable[Card], exclude: Iterable[str] = ()) -> list[str]:
    """Return what a profile can ask for as ``gpu_model``, sorted: whole cards' models, and ``mig-…`` of instances."""
    all_cards, out = list(cards), set(exclude)
    instances = [each for card in all_cards if card["uuid"] not in out for each in card.get("instances", [])]
    return sorted(
        {*whole_models(all_cards, out), *(instance_slug(each) for each in instances if each["uuid"] not in out)}
    )


def kinds(cards: Iterable[Card], exclude: Iterable[str] = (), shared: Iterable[str] = ()) -> Kinds:
    """Return the pool: ``{kind: [UUIDs]}``, both sorted, so that the same cards always give the same configuration."""
    all_cards, out = list(cards), {*exclude, *shared}
    mixed = len(whole_models(all_cards, exclude)) > 1
    found: Kinds = {}
    for card in all_cards:
        if card["uuid"] in out:
            continue
        if card.get("mig"):
            named = [(kind_of(instance_slug(each)), each["uuid"]) for each in card["instances"]]
        else:
            named = [(kind_of(model_slug(card["name"])) if mixed else GPU_KIND, card["uuid"])]
        for kind, uuid in named:
            if uuid not in out:
                found.setdefault(kind, []).append(uuid)
    return {kind: sorted(found[kind]) for kind in sorted(found)}


def labels(cards: Iterable[Card], exclude: Iterable[str] = (), shared: Iterable[str] = ()) -> dict[str, str]:
    """Return what the cards of a host say as labels of its node; empty when it has none that people may use.

    ``gpu_count`` counts the cards of the pool, one in MIG mode as one; ``gpu_memory_gb`` is the memory of a card in
    GiB, rounded, of the smallest where they differ, and missing where the driver does not tell.
    """
    out, apart = set(exclude), set(shared)
    usable = [card for card in cards if card["uuid"] not in out]
    if not usable:
        return {}
    models = whole_models(usable)
    memory = min(card["memory_mb"] for card in usable)
    kept = sorted(apart.intersection(uuids(usable)) - out)
    return {
        **({"gpu_model": models[0]} if len(models) == 1 else {}),
        "gpu_count": str(sum(card["uuid"] not in apart for card in usable)),
        **({"gpu_memory_gb": str(round(memory / 1024))} if memory else {}),
        **({"gpu_shared": ",".join(kept)} if kept else {}),
    }


def generic_resources(pool: Kinds) -> list[str]:
    """Return the engine's ``node-generic-resources``: full UUIDs, since of a count the runtime makes a card's index."""
    return sorted(f"{kind}={uuid}" for kind, found in pool.items() for uuid in found)


def swarm_resource(found: Iterable[str]) -> str:
    """Return the container toolkit's ``swarm-resource`` for these kinds: the variables of cards, that of ``GPU`` first.

    Source: https://github.com/NVIDIA/nvidia-container-toolkit/blob/main/CHANGELOG.md, 1.12.0-rc.1 (several names).
    """
    others = sorted({kind for kind in found if is_cards(kind)} - {GPU_KIND})
    return ",".join(f"{VARIABLE}{kind}" for kind in (GPU_KIND, *others))


def changes(advertised: Kinds, pool: Kinds, present: Iterable[str]) -> str:
    """Say which cards an engine must advertise anew; empty when it advertises the pool.

    Args:
        advertised: what the engine advertises now; of no kind of card, too.
        pool: what it is to advertise (see :func:`kinds`).
        present: all UUIDs that the host has (see :func:`uuids`).
    """
    there = set(present)
    now, wanted = (
        {uuid: kind for kind, found in each.items() if is_cards(kind) for uuid in found} for each in (advertised, pool)
    )
    said = [
        f"{uuid} {'leaves the pool' if uuid in there else 'is gone'}" for uuid in sorted(now.keys() - wanted.keys())
    ]
    said += [f"{uuid} is not advertised yet" for uuid in sorted(wanted.keys() - now.keys())]
    said += [
        f"{uuid} becomes {wanted[uuid]} and is {now[uuid]}"
        for uuid in sorted(now.keys() & wanted.keys())
        if now[uuid] != wanted[uuid]
    ]
    return f"card {', '.join(said)}: the engine restarts with the new list when no notebook runs" if said else ""


def kinds_of(model: str, offered: Iterable[str], one_model: str) -> list[str]:
    """Return the kinds of a node's that are cards of ``model``; without a model those of whole cards.

    Args:
        model: as a profile's ``gpu_model`` has it.
        offered: the kinds of the node.
        one_model: the node's label ``gpu_model``, empty when it has none.
    """
    kinds_here = set(offered)
    if not model:
        return sorted(kind for kind in kinds_here if is_cards(kind) and not kind.startswith("MIG_"))
    if kind_of(model) in kinds_here:
        return [kind_of(model)]
    return [GPU_KIND] if one_model.casefold() == model.casefold() and GPU_KIND in kinds_here else []


def is_cards(kind: str) -> bool:
    """Tell whether a kind of generic resource is cards or parts of them."""
    return kind == GPU_KIND or kind.startswith((f"{GPU_KIND}_", "MIG_"))
