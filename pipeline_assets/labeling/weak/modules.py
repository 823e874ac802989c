"""Modules of labeling functions: where they are, without importing them, and how they are loaded anew. Pure.

A module of the campaigns' folder leaves nothing behind in `sys.modules`, nor does what it imports from there: so each load
has the files as they are now.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType


def source_path(module_name: str, folder: Path | None = None) -> Path | None:
    """The file of a module, without importing it or a package that it is in; None if there is none.

    folder: is searched first.
    """
    if folder is not None:
        stem = folder.joinpath(*module_name.split("."))
        for path in (stem.with_suffix(".py"), stem / "__init__.py"):
            if path.is_file():
                return path
    try:
        top, *parts = module_name.split(".")
        spec = importlib.util.find_spec(top)
        for number in range(len(parts)):
            if spec is None:
                return None
            name = ".".join([top, *parts[: number + 1]])
            spec = PathFinder.find_spec(name, spec.submodule_search_locations or [])
    except Exception:  # of a finder of somebody else
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def sources(module_name: str, folder: Path | None = None) -> list[Path]:
    """All Python files that a module may take code from: those of the folder, or the package, in which it lies."""
    path = source_path(module_name, folder)
    if path is None:
        return []
    if folder is not None and path.is_relative_to(folder):
        place = folder
    elif (path.parent / "__init__.py").is_file():
        place = path.parent
    else:
        return [path]
    found = (one for one in place.rglob("*.py") if one.is_file())
    return sorted(one for one in found if not any(part.startswith(".") for part in one.relative_to(place).parts))


def load(module_name: str, folder: Path | None = None) -> ModuleType:
    """The module as its file is now. folder: is searched first.

    Raises ImportError for a name of Python's own or of a module loaded from elsewhere, and whatever the module raises.
    """
    path, top = source_path(module_name, folder), module_name.partition(".")[0]
    if top in sys.stdlib_module_names:
        raise ImportError(f"`{top}` is the name of a module of Python itself: rename yours")
    if path is None:
        return importlib.import_module(module_name)
    with _without_traces(folder) as loaded_elsewhere:
        if folder is not None and path.is_relative_to(folder) and top in loaded_elsewhere:
            raise ImportError(f"`{top}` is the name of another module, which is loaded: rename yours")
        return _run(module_name, path)


def _run(name: str, path: Path) -> ModuleType:
    """The module of a file, in `sys.modules` for as long as it runs alone."""
    places = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no module of Python")
    module, before = importlib.util.module_from_spec(spec), sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before
    return module


@contextmanager
def _without_traces(folder: Path | None) -> Iterator[set[str]]:
    """Import from the folder, too, after all other places; afterwards no module of it is known that wasn't before.

    Yields the names of the modules that are loaded from elsewhere. No bytecode is written, since that of a file that
    changes twice in a second would be taken for the newer one's.
    """
    path, writes_nothing, before = sys.path[:], sys.dont_write_bytecode, _of_folder(folder)
    for name in before:
        del sys.modules[name]
    if folder is not None:
        sys.path.append(str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield set(sys.modules)
    finally:
        sys.path[:], sys.dont_write_bytecode = path, writes_nothing
        for name in _of_folder(folder):
            del sys.modules[name]
        sys.modules.update(before)


def _of_folder(folder: Path | None) -> dict[str, ModuleType]:
    """The loaded modules that come from the folder."""
    if folder is None or not folder.is_dir():
        return {}
    names = {path.stem for path in folder.iterdir()}
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in names and _is_of(module, folder)
    }


def _is_of(module: ModuleType, folder: Path) -> bool:
    places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or [])]
    return any(isinstance(place, str) and Path(place).is_relative_to(folder) for place in places)
