"""Directories and files as they should be, made, written or taken away together."""

from __future__ import annotations

import base64
import contextlib
import tempfile
import typing as t
from collections.abc import Mapping
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

Entry = Mapping[str, t.Any]
Diff = dict[str, t.Any]


class Settler:
    """Settles one entry after the other; ``at`` is the path of the last, ``diffs`` what differed, as in copy's result.

    An entry has ``path``, ``mode`` (octal digits), ``owner`` and ``group`` (names or numbers). In check mode nothing is
    changed, and the accounts of what is yet to be made are not looked up: a package may bring them.

    Args:
        module: whose call it is; it fails where the system refuses.
    """

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self.at = ""
        self.diffs: list[Diff] = []

    def directory(self, entry: Entry) -> None:
        """Make a directory, with its parents."""
        path = self._begin(entry)
        if path.is_dir():
            self._mend(entry, path)
            return
        self._note("absent", "directory")
        if not self._module.check_mode:
            path.mkdir(mode=0o700, parents=True)
            self._set_attributes(entry, path)

    def file(self, entry: Entry) -> None:
        """Write a file with its ``content`` or ``secret_content``, or take an ``absent`` one away."""
        path = self._begin(entry)
        secret = entry["secret_content"] is not None
        text = entry["secret_content"] if secret else entry["content"]
        content = base64.b64decode(text) if entry["encoding"] == "base64" else text.encode()
        now = path.read_bytes() if path.is_file() else None
        if entry["absent"]:
            if now is not None:
                self._note("file", "absent")
                if not self._module.check_mode:
                    path.unlink()
        elif now == content:
            self._mend(entry, path)
        else:
            before = (now or b"").decode(errors="replace")
            self._note(*(("", "not shown\n") if secret else (before, content.decode(errors="replace"))))
            if not self._module.check_mode:
                self._write(entry, path, content)

    def _begin(self, entry: Entry) -> Path:
        self.at = entry["path"]
        return Path(self.at)

    def _write(self, entry: Entry, path: Path, content: bytes) -> None:
        """Put the content in its place at one stroke: at no moment is it half there, or open to others."""
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
            part = Path(stream.name)
            stream.write(content)
        try:
            self._set_attributes(entry, part)
            part.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()

    def _mend(self, entry: Entry, path: Path) -> None:
        """Settle owner, group and mode of what is there."""
        diff: Diff = {}
        if self._set_attributes(entry, path, diff):
            self._note(diff["before"], diff["after"])

    def _set_attributes(self, entry: Entry, path: Path, diff: Diff | None = None) -> bool:
        arguments = self._module.load_file_common_arguments(entry, str(path))
        return bool(self._module.set_fs_attributes_if_different(arguments, False, diff))

    def _note(self, before: t.Any, after: t.Any) -> None:
        self.diffs.append({"before_header": self.at, "after_header": self.at, "before": before, "after": after})
