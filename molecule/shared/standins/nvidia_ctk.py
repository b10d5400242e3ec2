"""Stand-in for nvidia-ctk: `--version`, and `config` with --config-file, --set, --in-place and --output.

NVIDIA/nvidia-container-toolkit, cmd/nvidia-ctk/config/config.go. What a version makes of `swarm-resource`, whose
default is the very value that a swarm needs:

- up to 1.18 a value that equals the default is written as a comment, even when it is --set (pull request 1629),
- 1.19 writes it out, and the next call that does not --set it, such as a package's postinst, makes it a comment again,
- 1.20 keeps what the file has ("prevent config option from reverting modified configurations", its release notes;
  markKeysSet in api/config/v1/toml.go).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from . import toolkit_config


def settable() -> set[str]:
    """The dotted names that --set takes."""
    return {*toolkit_config.keys(toolkit_config.DEFAULTS), *toolkit_config.COMMENTED}


def value_of(key: str, text: str) -> Any:
    """What --set makes of its text, by the type that the setting has."""
    default = toolkit_config.get(toolkit_config.DEFAULTS, key)
    if isinstance(default, list):
        return text.split(":")
    if isinstance(default, bool) or isinstance(toolkit_config.COMMENTED.get(key), bool):
        return text == "true"
    return text


def configured(file: Path, changes: list[str], version: tuple[int, ...]) -> str:
    """The text of the configuration in `file` after `changes` (KEY=VALUE), as that version writes it."""
    settings = toolkit_config.read(file)
    meant = set(toolkit_config.keys(settings)) if version >= (1, 20) and file.exists() else set()
    for change in changes:
        key, equals, text = change.partition("=")
        if key not in settable():
            raise ValueError(f'invalid --set option {change}: invalid config option: undefined field: "{key}"')
        settings = toolkit_config.put(settings, key, value_of(key, text if equals else "true"))
        if version >= (1, 19):
            meant.add(key)
    return toolkit_config.render(settings, meant)


def main() -> int:
    """Read the command line and print or write the configuration."""
    parser = argparse.ArgumentParser(prog="nvidia-ctk")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    config = parser.add_subparsers(dest="command").add_parser("config")
    config.add_argument("--config-file", "--config", "-c", type=Path, default=toolkit_config.path())
    config.add_argument("--in-place", "-i", action="store_true")
    config.add_argument("--output", "-o", type=Path)
    config.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    version = toolkit_config.version()
    if arguments.version:
        print(f"NVIDIA Container Toolkit CLI version {'.'.join(map(str, version))}\ncommit: none, a stand-in")
        return 0
    if not arguments.command:
        parser.print_help()
        return 0
    try:
        text = configured(arguments.config_file, arguments.set, version)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    target = arguments.config_file if arguments.in_place else arguments.output
    if target is None:
        print(text, end="")
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return 0
