"""Plans a checkout: compares the selected files with the existing ones and with those that checkouts wrote."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl

from pipeline_assets.errors import CheckoutRefused
from pipeline_assets.versioning.checkout.state import State
from pipeline_assets.versioning.checkout.target import OWN, Target

NOT_DATA = (OWN, ".darkroom", ".git", "git~1")
"""Reserved names, in which programs keep rules, hooks and addresses. git~1 is the short Windows name of `.git`."""
_INVISIBLE = "[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]"
HASHING_THREADS = 4
MAX_NAMED = 5
"""Limit of files named in an error."""


@dataclass(frozen=True)
class Plan:
    """keep: the state's rows of files that are intact. put: rows to write, with `replace`.

    remove: files of ours that are no longer selected. left: such files that were changed by someone, which stay.
    """

    keep: pl.DataFrame
    put: pl.DataFrame
    remove: tuple[str, ...]
    left: tuple[str, ...]


def plan(target: Target, state: State, wanted: pl.DataFrame, *, force: bool = False) -> Plan:
    """Compare the wanted files (path, sha256, size_bytes, made_from, and more) with a folder. Nothing is written.

    Raises CheckoutRefused for files in the way that no checkout wrote or that were changed since; with `force` they are
    replaced. Folders and linked folders in the way are never touched.
    """
    _refuse_clashes(target, wanted["path"])
    paths = pl.concat([wanted["path"], state.files["path"]]).unique().sort()
    existing = _identified(target, state, target.look(paths))
    obsolete = _obsolete(state, wanted, existing)
    remove = obsolete.filter("is_ours")["path"].to_list()
    compared = wanted.join(existing, on="path", how="left", maintain_order="left")
    unchanged = compared.filter((pl.col("kind") == "file") & (pl.col("found_sha256") == pl.col("sha256")))
    other = compared.join(unchanged, on="path", how="anti", maintain_order="left")
    ours = (pl.col("kind") == "file") & pl.col("is_ours")
    in_the_way = other.filter(pl.col("kind").is_not_null() & ~ours.fill_null(value=False))
    _refuse(target, _obstacles(target, in_the_way, set(remove), force=force))
    put = other.with_columns(replace=pl.col("kind").is_in(["file", "link", "other"]).fill_null(value=False))
    return Plan(
        keep=unchanged.select(
            "path",
            "sha256",
            "size_bytes",
            pl.col("found_ns").alias("modified_ns"),
            pl.col("found_inode").alias("inode"),
            "made_from",
            pl.col("is_ours").fill_null(value=False),
        ),
        put=put.select(*wanted.columns, "replace"),
        remove=tuple(remove),
        left=tuple(obsolete.filter(~pl.col("is_ours"))["path"]),
    )


def _identified(target: Target, state: State, existing: pl.DataFrame) -> pl.DataFrame:
    """Existing paths with sha256 and `is_ours`, from the stamp where it is trusted, else from the file's bytes."""
    trusted = state.files.filter(state.is_trusted).select(
        "path",
        "is_ours",
        found_sha256="sha256",
        found_bytes="size_bytes",
        found_ns="modified_ns",
        found_inode="inode",
    )
    stamp = ["path", "found_bytes", "found_ns", "found_inode"]
    by_stamp = existing.join(trusted.unique(stamp), on=stamp, how="left", maintain_order="left")
    unread = by_stamp.filter((pl.col("kind") == "file") & pl.col("found_sha256").is_null())["path"]
    with ThreadPoolExecutor(HASHING_THREADS, "hash") as pool:
        hashed = pl.DataFrame(
            {"path": unread, "found_sha256": list(pool.map(target.sha256, unread))},
            schema={"path": pl.String, "found_sha256": pl.Binary},
        )
    ours = state.files.group_by("path", found_sha256="sha256").agg(pl.col("is_ours").any())
    by_content = hashed.join(ours, on=["path", "found_sha256"], how="left")
    merged = by_stamp.join(by_content, on="path", how="left", suffix="_read", maintain_order="left")
    return merged.select(
        *existing.columns,
        found_sha256=pl.coalesce("found_sha256", "found_sha256_read"),
        is_ours=pl.coalesce("is_ours", "is_ours_read"),
    )


def _obsolete(state: State, wanted: pl.DataFrame, existing: pl.DataFrame) -> pl.DataFrame:
    """Existing files that a checkout wrote and that are no longer selected. is_ours: whether each is unchanged."""
    written = state.files.filter("is_ours").select("path").unique(maintain_order=True)
    files = existing.filter(pl.col("kind") == "file").select("path", pl.col("is_ours").fill_null(value=False))
    return written.join(wanted.select("path"), on="path", how="anti").join(files, on="path", how="inner").sort("path")


def _obstacles(target: Target, in_the_way: pl.DataFrame, removed: set[str], *, force: bool) -> Iterator[tuple[str, str]]:
    """Paths that must not be touched, with the reason."""
    for path, kind in in_the_way.select("path", "kind").iter_rows():
        if kind == "below":
            if not any(ancestor in removed for ancestor in _ancestors(path)):
                yield path, "it lies below a link or a file, which may lead elsewhere"
        elif kind == "folder":
            if not _is_removed_whole(target, path, removed):
                yield path, "a folder of this name is there"
        elif not force:
            yield path, "another file of this name is there" if kind == "file" else f"a {kind} of this name is there"


def _ancestors(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _is_removed_whole(target: Target, folder: str, removed: set[str]) -> bool:
    root = target.folder / folder
    files = [path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
    return bool(files) and all(path.relative_to(target.folder).as_posix() in removed for path in files)


def _refuse(target: Target, obstacles: Iterator[tuple[str, str]]) -> None:
    obstacle_list = list(obstacles)
    if not obstacle_list:
        return
    details = "; ".join(f"{path}: {reason}" for path, reason in obstacle_list[:MAX_NAMED])
    suffix = f" and {len(obstacle_list) - MAX_NAMED:,} more" if len(obstacle_list) > MAX_NAMED else ""
    raise CheckoutRefused(
        f"{target.folder} has {len(obstacle_list):,} files in the way that no checkout wrote, or that were changed since "
        f"({details}{suffix}). Nothing was written. Move them, choose another folder, or replace files with --force; "
        "folders and the targets of links always stay."
    )


def _refuse_clashes(target: Target, paths: pl.Series) -> None:
    reserved = paths.filter(folded_names(paths).str.contains(f"(^|/)({'|'.join(map(re.escape, NOT_DATA))})[ .]*(/|$)"))
    if len(reserved):
        raise CheckoutRefused(
            f"The data set has a file {reserved[0]!r}, a name reserved by git or Darkroom, whose files may be executed: "
            "leave it out with --where. Nothing was written."
        )
    if target.folds_case and (clash := case_clash(paths)):
        raise CheckoutRefused(
            f"{clash[0]!r} and {clash[1]!r} are one name on the filesystem of {target.folder}: choose another, or "
            "leave one out with --where. Nothing was written."
        )


def folded_names(paths: pl.Series) -> pl.Series:
    """Paths normalized for filesystems that ignore case, composition and invisible characters."""
    return paths.str.replace_all(_INVISIBLE, "").str.normalize("NFKC").str.to_lowercase()


def case_clash(paths: pl.Series) -> tuple[str, str] | None:
    """Two paths that are equal on a filesystem that ignores case and composition of characters; None if there are none."""
    folded = pl.DataFrame({"path": paths, "folded": folded_names(paths)})
    clashing = folded.filter(pl.col("folded").is_duplicated()).sort("folded", "path")["path"]
    return (clashing[0], clashing[1]) if len(clashing) else None
