"""What a code version is made of, part by part, so that a change of it can be named: code, model or configuration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pipeline_assets.versioning.digest import code_digest

Kind = Literal["code", "model", "config"]
Parts = Mapping[str, Mapping[str, str]]
"""{kind: {name: value}}; the value of code is a digest of it, that of a model or a setting says itself."""


class Part(str):
    """A text that takes part in a code version under a name: a model's id, a setting. It digests as its text does."""

    kind: Kind
    name: str

    def __new__(cls, kind: Kind, name: str, text: str) -> "Part":
        """The text, with what it is."""
        made = super().__new__(cls, text)
        made.kind, made.name = kind, name
        return made


def parts_of(code: Sequence[ModuleType | Path | Any | str]) -> dict[str, dict[str, str]]:
    """The parts of what `code_digest` takes, by kind and name. Two parts of one kind and name are one, of both."""
    found: dict[str, dict[str, list[Any]]] = {}
    for number, part in enumerate(code):
        kind = part.kind if isinstance(part, Part) else "code"
        found.setdefault(kind, {}).setdefault(_name(part, number), []).append(part)
    return {
        kind: {name: code_digest(parts) if kind == "code" else " ".join(parts) for name, parts in named.items()}
        for kind, named in found.items()
    }


def differences(before: Parts, now: Parts, kind: str) -> list[str]:
    """What differs in the parts of one kind, in words: `module features.windows`, `classifier lite0 -> lite4`."""
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
