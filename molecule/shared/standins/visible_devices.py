"""Which cards a container asks for: the real toolkit's rules, with the functions that they come from.

All of them are of NVIDIA/nvidia-container-toolkit. "hook" is cmd/nvidia-container-runtime-hook, which works in mode
legacy, "runtime" is internal/runtime, which works in mode jit-cdi, and "image" is internal/config/image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ALL, NONE, VOID = "all", "none", "void"
DEFAULT_CAPABILITIES = {"compute", "utility"}  # image, DefaultDriverCapabilities


def environment(variables: Sequence[str]) -> dict[str, str]:
    """A container's variables; of one that is there twice the last holds (image, builder.go: WithEnv)."""
    return dict(variable.split("=", 1) for variable in variables)


def preferred(swarm_resource: str, mode: str, version: tuple[int, ...]) -> list[str]:
    """The variables that `swarm-resource` puts before NVIDIA_VISIBLE_DEVICES."""
    if mode == "legacy":
        # hook, hook_config.go: getSwarmResourceEnvvars splits the list and drops what is empty.
        return [name for part in swarm_resource.split(",") if (name := part.strip())]
    if version < (1, 19):
        # jit-cdi came with 1.18 and without swarm-resource (issue 1599).
        return []
    # runtime, runtime_factory.go: initRuntimeModeAndImage hands the setting on as one name (pull request 1600).
    # So a list of two variables is a variable that nobody sets, and NVIDIA_VISIBLE_DEVICES decides.
    return [swarm_resource]


def consulted(variables: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """The preferred variables that are set, if only to nothing; else NVIDIA_VISIBLE_DEVICES (image: visibleEnvVars)."""
    return [name for name in names if name in variables] or ["NVIDIA_VISIBLE_DEVICES"]


def is_legacy(variables: Mapping[str, str]) -> bool:
    """Whether the image is one of those from before NVIDIA_REQUIRE_CUDA (image, cuda_image.go: IsLegacy)."""
    return bool(variables.get("CUDA_VERSION")) and not variables.get("NVIDIA_REQUIRE_CUDA")


def requested(variables: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """The cards that are asked for, by index or UUID; or `all`, `none` (no card, but the programs), or `void` alone.

    image, cuda_image.go: devicesFromEnvvars (DevicesFromEnvvars up to 1.17), but for the last step.
    """
    consult = [variables[name] for name in consulted(variables, names) if name in variables]
    devices = [device for value in consult for part in value.split(",") if (device := part.strip())]
    if not consult and is_legacy(variables):
        return [ALL]
    if not devices:  # unset, or set to nothing
        return [VOID]
    # image, devices.go: NewVisibleDevices; one such word makes all else void, in this order.
    return next(([word] for word in (VOID, NONE, ALL) if word in devices), list(dict.fromkeys(devices)))


def obeyed(asked: list[str], accept_unprivileged: bool, bounding: Sequence[str]) -> list[str]:
    """What of that is granted: variables may be reserved for privileged containers.

    image, cuda_image.go: VisibleDevices; image, privileged.go: IsPrivileged.
    """
    return asked if accept_unprivileged or "CAP_SYS_ADMIN" in bounding else [VOID]


def brings_programs(variables: Mapping[str, str], supported: str, mode: str) -> bool:
    """Whether the container gets nvidia-smi.

    In mode legacy capability `utility` says so (hook, container_config.go: getDriverCapabilities). jit-cdi brings it in
    any case (pkg/nvcdi/driver-nvml.go: NewDriverBinariesDiscoverer).
    """
    if mode != "legacy":
        return True
    supported_ones = set(supported.split(","))
    wanted = {part for part in variables.get("NVIDIA_DRIVER_CAPABILITIES", "").split(",") if part}
    if "all" in wanted or (is_legacy(variables) and "NVIDIA_DRIVER_CAPABILITIES" not in variables):
        wanted = supported_ones
    return "utility" in (wanted or DEFAULT_CAPABILITIES) & supported_ones
