"""Strict reading of a compose mapping: every key is either understood or refused by its full path."""

from __future__ import annotations

import re
import shlex
import typing as t
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation

_DURATION_UNITS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<rule>:?[-?])(?P<rest>[^}]*))?\}|)"
)


class ComposeError(Exception):
    """A key of the compose mapping (named by its path, as in ``services.hub.ports``) is wrong or not supported."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path or 'compose'}: {message}")
        self.path = path


def interpolated(value: object, environment: Mapping[str, t.Any], path: str = "") -> t.Any:
    """The mapping with its variables replaced, as ``docker stack deploy`` does from its own environment.

    ``$NAME`` and ``${NAME}`` are values of ``environment``, ``${NAME-x}`` and ``${NAME:-x}`` have a default (the latter
    also for an empty value), ``${NAME?why}`` and ``${NAME:?why}`` say what is missing, and ``$$`` is a dollar.

    Raises:
        ComposeError: a variable without a value, which docker would take for an empty one, or a lone ``$``.
    """
    if isinstance(value, Mapping):
        return {
            key: interpolated(item, environment, f"{path}.{key}" if path else str(key)) for key, item in value.items()
        }
    if isinstance(value, list):
        return [interpolated(item, environment, f"{path}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, rule, rest = match["name"] or match["bare"], match["rule"] or "", match["rest"]
        if match["dollar"]:
            return "$"
        if not name:
            raise ComposeError(path, f"{value!r} has a $ that begins no variable; $$ is a $")
        text = "" if environment.get(name) is None else str(environment[name])
        if environment.get(name) is None or (not text and rule.startswith(":")):
            if not rule.endswith("-"):
                raise ComposeError(path, f"the variable {name} has no value{f' ({rest})' if rest else ''}")
            return rest or ""
        return text

    return _VARIABLE.sub(replace, value)


def duration(value: object, path: str) -> int:
    """Nanoseconds of a Go duration such as ``1m30s`` or ``500ms``."""
    text = str(value)
    if text == "0":
        return 0
    parts = _DURATION_PART.findall(text)
    if isinstance(value, bool) or not parts or "".join(number + unit for number, unit in parts) != text:
        raise ComposeError(path, f"expected a duration with a unit such as 10s or 1m30s, got {value!r}")
    return int(sum(Decimal(number) * _DURATION_UNITS[unit] for number, unit in parts))


def size(value: object, path: str) -> int:
    """Bytes of a size such as ``512M`` or ``1.5gb``; units are powers of 1024, a bare number is in bytes."""
    match = _SIZE.fullmatch(str(value))
    if isinstance(value, bool) or not match:
        raise ComposeError(path, f"expected a size such as 512M or 2g, got {value!r}")
    return int(Decimal(match[1]) * _SIZE_UNITS[match[2].lower()])


def nano_cpus(value: object, path: str) -> int:
    """Billionths of a CPU of a decimal such as ``0.5``."""
    try:
        cpus = Decimal(str(value))
    except InvalidOperation:
        cpus = Decimal(-1)
    if isinstance(value, bool) or not cpus.is_finite() or cpus < 0:
        raise ComposeError(path, f"expected a number of CPUs such as 0.5, got {value!r}")
    return int(cpus * 10**9)


def file_mode(value: object, path: str) -> int:
    """A file mode, octal in YAML (``0440``) or in a string (``"0440"``)."""
    if isinstance(value, str) and re.fullmatch(r"0?o?[0-7]{3,4}", value):
        return int(value.replace("o", ""), 8)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0o7777:
        return value
    raise ComposeError(path, f"expected an octal file mode such as 0440, got {value!r}")


def scalar(value: object, path: str) -> str:
    """The text of a string or number. A YAML boolean is refused: it is most often an unquoted word."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ComposeError(path, f"expected a string or a number, got {value!r}; put the value in quotes")
    return str(value)


class Section:
    """A mapping whose keys are taken one by one; :meth:`close` refuses whatever nobody took.

    Keys that begin with ``x-`` are the compose format's own comments, unless :meth:`extension` asks for one.
    """

    def __init__(self, data: object, path: str) -> None:
        if data is None:
            data = {}
        if not isinstance(data, Mapping):
            raise ComposeError(path, f"expected a mapping, got {data!r}")
        self.path = path
        everything = {str(key): value for key, value in data.items()}
        self._extensions = {key: value for key, value in everything.items() if key.startswith("x-")}
        self._rest = {key: value for key, value in everything.items() if key not in self._extensions}

    def at(self, key: str) -> str:
        """The path of a key, for messages."""
        return f"{self.path}.{key}" if self.path else key

    def __contains__(self, key: str) -> bool:
        return self._rest.get(key) is not None

    def names(self) -> list[str]:
        """The keys that nobody has taken yet."""
        return list(self._rest)

    def holds(self, key: str, kind: type) -> bool:
        """Whether the value is a ``str``, ``list`` or ``dict``."""
        return isinstance(self._rest.get(key), kind)

    def take(self, key: str) -> t.Any:
        """The raw value, ``None`` when absent."""
        return self._rest.pop(key, None)

    def text(self, key: str, default: str = "", choices: t.Collection[str] = ()) -> str:
        """A string, one of ``choices`` if there are any."""
        value = self.take(key)
        if value is None:
            return default
        text = scalar(value, self.at(key))
        if choices and text not in choices:
            raise ComposeError(self.at(key), f"expected one of {', '.join(choices)}, got {text!r}")
        return text

    def extension(self, key: str) -> str:
        """The text of a key that begins with ``x-``."""
        value = self._extensions.get(key)
        return "" if value is None else scalar(value, self.at(key))

    def flag(self, key: str) -> bool | None:
        """A boolean, ``None`` when absent."""
        value = self.take(key)
        if value is None or isinstance(value, bool):
            return value
        raise ComposeError(self.at(key), f"expected true or false, got {value!r}")

    def whole(self, key: str, default: int) -> int:
        """A whole number from 0."""
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)):
            raise ComposeError(self.at(key), f"expected a whole number, got {value!r}")
        return int(value)

    def number(self, key: str, read: t.Callable[[object, str], int]) -> int | None:
        """A value in a notation such as :func:`duration`, ``None`` when absent."""
        value = self.take(key)
        return None if value is None else read(value, self.at(key))

    def items(self, key: str) -> list[tuple[t.Any, str]]:
        """The elements of a list, each with its path."""
        value = self.take(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise ComposeError(self.at(key), f"expected a list, got {value!r}")
        return [(item, f"{self.at(key)}[{index}]") for index, item in enumerate(value)]

    def strings(self, key: str) -> list[str]:
        """A list of strings; one string stands for a list of one."""
        if self.holds(key, str):
            return [self.take(key)]
        return [scalar(item, path) for item, path in self.items(key)]

    def words(self, key: str) -> list[str]:
        """A command: a list, or a string that is split as a shell would."""
        if self.holds(key, str):
            try:
                return shlex.split(self.take(key))
            except ValueError as error:
                raise ComposeError(self.at(key), f"cannot be split into words: {error}") from error
        return self.strings(key)

    def pairs(self, key: str, separator: str = "=") -> dict[str, str | None]:
        """A mapping, or a list of ``key=value``; ``None`` for a key that stands alone."""
        if self.holds(key, list):
            split = (scalar(item, path).partition(separator) for item, path in self.items(key))
            return {name: text if found else None for name, found, text in split}
        mapping = self.take(key)
        if mapping is not None and not isinstance(mapping, Mapping):
            raise ComposeError(self.at(key), f"expected a mapping or a list of key{separator}value, got {mapping!r}")
        return {
            str(name): None if text is None else scalar(text, f"{self.at(key)}.{name}")
            for name, text in (mapping or {}).items()
        }

    def labels(self, key: str = "labels") -> dict[str, str]:
        """Labels; one without a value has an empty one."""
        return {name: text or "" for name, text in self.pairs(key).items()}

    def section(self, key: str) -> Section:
        """A mapping below this one, empty when absent."""
        return Section(self.take(key), self.at(key))

    def sections(self, key: str) -> Iterator[tuple[str, Section]]:
        """The mappings of a mapping of names."""
        group = self.section(key)
        for name in group.names():
            yield name, group.section(name)

    def close(self) -> None:
        """Refuse the keys that nobody took."""
        if self._rest:
            key = sorted(self._rest)[0]
            raise ComposeError(self.at(key), "is not supported")
