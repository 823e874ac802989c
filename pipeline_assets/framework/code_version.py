"""The parts of a code version, so that a change can be named: code, model or configuration."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pipeline_assets.framework.digest import code_digest

Kind = Literal["code", "model", "config"]
Parts = Mapping[str, Mapping[str, str]]
"""{kind: {name: value}}; the value is a digest for code, and the text itself for a model or a setting."""


class Part(str):
    """A named text in a code version: a model's id, or a setting. Its digest is that of the text."""

    kind: Kind
    name: str

    def __new__(cls, kind: Kind, name: str, text: str) -> "Part":
        """The text with its kind and name."""
        part = super().__new__(cls, text)
        part.kind, part.name = kind, name
        return part


class Chosen(Part):
    """A part that a run's resource decides, such as the classifier in a launch's configuration.

    Its text comes from the settings of this process; `with_resources` takes it from a run's resources.
    """

    resource: str
    of: Callable[[Any], str]

    @classmethod
    def by(cls, resource: str, of: Callable[[Any], str], kind: Kind, name: str, text: str) -> "Chosen":
        """The text, with the function `of` that derives it from the resource."""
        part = cls(kind, name, text)
        part.resource, part.of = resource, of
        return part

    def with_resources(self, resources: Mapping[str, Any]) -> "Chosen":
        """The part with the text that these resources decide; unchanged if its resource is not among them."""
        if self.resource not in resources:
            return self
        return Chosen.by(self.resource, self.of, self.kind, self.name, self.of(resources[self.resource]))


def parts_of(code: Sequence[ModuleType | Path | Any | str]) -> dict[str, dict[str, str]]:
    """The arguments of `code_digest` by kind and name. Two parts of the same kind and name become one."""
    parts_by_kind: dict[str, dict[str, list[Any]]] = {}
    for number, part in enumerate(code):
        kind = part.kind if isinstance(part, Part) else "code"
        parts_by_kind.setdefault(kind, {}).setdefault(_name(part, number), []).append(part)
    return {
        kind: {name: code_digest(parts) if kind == "code" else " ".join(parts) for name, parts in named.items()}
        for kind, named in parts_by_kind.items()
    }


def differences(before: Parts, now: Parts, kind: str) -> list[str]:
    """The differences in parts of one kind, in words: `module features.windows`, `classifier lite0 -> lite4`."""
    old, new = before.get(kind, {}), now.get(kind, {})
    changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if kind == "code":
        return changed
    return [f"{name} {old.get(name, 'not set')} -> {new.get(name, 'not set')}" for name in changed]


def _name(part: Any, number: int) -> str:
    if isinstance(part, Part):
        return part.name
    if isinstance(part, str):
        return f"text {number}"
    if isinstance(part, Path):
        return f"file {part.name}"
    kind = "module" if isinstance(part, ModuleType) else "function"
    return f"{kind} {part.__name__.removeprefix('pipeline_assets.')}"
