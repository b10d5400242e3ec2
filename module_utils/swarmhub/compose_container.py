"""The container's part of a compose service as a ContainerSpec of the Docker Engine API."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.module_utils.swarmhub.compose_reader import ComposeError, Section, duration, file_mode, size

Spec = dict[str, t.Any]

_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


@dataclasses.dataclass
class Names:
    """What a service may refer to, by key of the compose mapping, and the name that it has in the swarm."""

    stack: str
    networks: dict[str, str]
    volumes: dict[str, tuple[str, Spec]]
    secrets: dict[str, str]
    configs: dict[str, str]
    warnings: list[str]
    default_network_used: bool = False

    @property
    def default_network(self) -> str:
        """The network of services that name none."""
        return self.networks.get("default", f"{self.stack}_default")


def container_spec(section: Section, names: Names, stack_labels: dict[str, str]) -> Spec:
    """Translate everything of a service that concerns its container; empty settings are left out.

    Raises:
        ComposeError: for the first key that is wrong.
    """
    image = section.text("image")
    if not image:
        raise ComposeError(section.at("image"), "is missing")
    spec: Spec = {
        "Image": image,
        "Command": section.words("entrypoint"),
        "Args": section.words("command"),
        "Env": _environment(section),
        "Hostname": section.text("hostname"),
        "User": section.text("user"),
        "Dir": section.text("working_dir"),
        "Init": section.flag("init"),
        "TTY": section.flag("tty") or None,
        "OpenStdin": section.flag("stdin_open") or None,
        "ReadOnly": section.flag("read_only") or None,
        "StopGracePeriod": section.number("stop_grace_period", duration),
        "StopSignal": section.text("stop_signal"),
        "Labels": {**section.labels(), **stack_labels},
        "Mounts": [_mount(item, path, names) for item, path in section.items("volumes")],
        "Secrets": [
            _reference(item, path, "Secret", names.secrets, "secrets") for item, path in section.items("secrets")
        ],
        "Configs": [
            _reference(item, path, "Config", names.configs, "configs") for item, path in section.items("configs")
        ],
        "Healthcheck": _healthcheck(section.section("healthcheck")),
        "CapabilityAdd": _capabilities(section, "cap_add"),
        "CapabilityDrop": _capabilities(section, "cap_drop"),
        "Sysctls": section.labels("sysctls"),
        "Ulimits": _ulimits(section),
        "Hosts": _hosts(section),
        "DNSConfig": _without_empty(
            {
                "Nameservers": section.strings("dns"),
                "Search": section.strings("dns_search"),
                "Options": section.strings("dns_opt"),
            }
        ),
    }
    return _without_empty(spec)


def _without_empty(spec: Spec) -> Spec:
    return {key: value for key, value in spec.items() if value not in (None, "", [], {})}


def _environment(section: Section) -> list[str]:
    path = section.at("environment")
    variables = section.pairs("environment")
    for name, value in variables.items():
        if value is None:
            raise ComposeError(f"{path}.{name}", "has no value; nothing is taken over from where the module runs")
    return [f"{name}={value}" for name, value in sorted(variables.items())]


def _capabilities(section: Section, key: str) -> list[str]:
    """In the form that the engine keeps: upper case, with the prefix."""
    names = (name.upper() for name in section.strings(key))
    return sorted({name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in names})


def _hosts(section: Section) -> list[str]:
    """``name:address`` becomes ``address name``."""
    return [f"{address} {name}" for name, address in section.pairs("extra_hosts", separator=":").items()]


def _ulimits(section: Section) -> list[Spec]:
    limits = section.section("ulimits")
    found = []
    for name in limits.names():
        if limits.holds(name, dict):
            pair = limits.section(name)
            soft, hard = pair.whole("soft", 0), pair.whole("hard", 0)
            pair.close()
        else:
            soft = hard = limits.whole(name, 0)
        found.append({"Name": name, "Soft": soft, "Hard": hard})
    return found


def _healthcheck(section: Section) -> Spec:
    if section.flag("disable"):
        section.close()
        return {"Test": ["NONE"]}
    test = ["CMD-SHELL", section.take("test")] if section.holds("test", str) else section.strings("test")
    spec = {
        "Test": test,
        "Interval": section.number("interval", duration),
        "Timeout": section.number("timeout", duration),
        "StartPeriod": section.number("start_period", duration),
        "Retries": section.whole("retries", 0) or None,
    }
    section.close()
    if test and test[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise ComposeError(section.at("test"), "a list begins with NONE, CMD or CMD-SHELL")
    return _without_empty(spec)


def _reference(item: object, path: str, kind: str, known: dict[str, str], plural: str) -> Spec:
    """A secret or config in the container; short form: its key is its file name, readable by all."""
    section = Section({"source": item} if isinstance(item, str) else item, path)
    source = section.text("source")
    mode = section.number("mode", file_mode)
    file = {
        "Name": section.text("target", source),
        "UID": section.text("uid", "0"),
        "GID": section.text("gid", "0"),
        "Mode": 0o444 if mode is None else mode,
    }
    section.close()
    if source not in known:
        raise ComposeError(path, f"{source!r} is not among the mapping's {plural}")
    return {"File": file, f"{kind}Name": known[source]}


def _mount(item: object, path: str, names: Names) -> Spec:
    section = Section(item if isinstance(item, dict) else _short_mount(item, path), path)
    kind = section.text("type", choices=("bind", "volume", "tmpfs"))
    spec: Spec = {"Type": kind, "Source": section.text("source"), "Target": section.text("target")}
    spec["ReadOnly"] = section.flag("read_only") or None
    if not spec["Target"].startswith("/"):
        raise ComposeError(path, f"the target must be an absolute path, got {spec['Target']!r}")
    if kind == "bind":
        _bind(spec, section)
    elif kind == "volume":
        _volume(spec, section, names)
    else:
        _tmpfs(spec, section)
    section.close()
    return _without_empty(spec)


def _short_mount(item: object, path: str) -> Spec:
    """``[source:]target[:options]``; a source that is a path is bound, any other names a volume."""
    parts = str(item).split(":")
    if not isinstance(item, str) or len(parts) > 3:
        raise ComposeError(path, f"expected [source:]target[:options], got {item!r}")
    if len(parts) == 1:
        return {"type": "volume", "target": parts[0]}
    bind = parts[0].startswith(("/", ".", "~"))
    mount: Spec = {"type": "bind" if bind else "volume", "source": parts[0], "target": parts[1]}
    for option in parts[2].split(",") if len(parts) == 3 else []:
        if option in ("ro", "rw"):
            mount["read_only"] = option == "ro"
        elif option == "nocopy" and not bind:
            mount["volume"] = {"nocopy": True}
        elif option in _PROPAGATIONS and bind:
            mount["bind"] = {"propagation": option}
        else:
            raise ComposeError(path, f"option {option!r} is not supported")
    return mount


def _bind(spec: Spec, section: Section) -> None:
    if not spec["Source"].startswith("/"):
        raise ComposeError(section.path, f"the source must be an absolute path on the node, got {spec['Source']!r}")
    options = section.section("bind")
    propagation = options.text("propagation", choices=_PROPAGATIONS)
    options.close()
    if propagation:
        spec["BindOptions"] = {"Propagation": propagation}


def _volume(spec: Spec, section: Section, names: Names) -> None:
    options = section.section("volume")
    no_copy = options.flag("nocopy")
    options.close()
    volume: Spec = {}
    if spec["Source"]:
        if spec["Source"] not in names.volumes:
            raise ComposeError(section.path, f"volume {spec['Source']!r} is not among the mapping's volumes")
        spec["Source"], settings = names.volumes[spec["Source"]]
        volume.update(settings)
    if no_copy:
        volume["NoCopy"] = True
    spec["VolumeOptions"] = volume


def _tmpfs(spec: Spec, section: Section) -> None:
    if spec["Source"]:
        raise ComposeError(section.path, "a tmpfs has no source")
    options = section.section("tmpfs")
    tmpfs = {"SizeBytes": options.number("size", size), "Mode": options.number("mode", file_mode)}
    options.close()
    spec["TmpfsOptions"] = _without_empty(tmpfs)
