"""What a checkout has to do: the files that are wanted beside those that are there and those that are known to be ours."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl

from pipeline_assets.errors import CheckoutRefused
from pipeline_assets.versioning.checkout_state import State
from pipeline_assets.versioning.target import OWN, Target

HASHERS = 4
NAMED = 5
"""So many files are named in an error."""


@dataclass(frozen=True)
class Plan:
    """keep: the state's rows of files that are there and right. put: wanted rows to write, with `replace`.

    remove: files of ours that are wanted no more. left: such files that someone has changed since, which stay.
    """

    keep: pl.DataFrame
    put: pl.DataFrame
    remove: tuple[str, ...]
    left: tuple[str, ...]


def plan(target: Target, state: State, wanted: pl.DataFrame, *, force: bool = False) -> Plan:
    """Compare what is wanted (path, sha256, size_bytes, made_from, and more) with a folder. Nothing is written.

    Raises CheckoutRefused, naming them, for files in the way that no checkout wrote or that were changed since: unless
    `force`, by which they are replaced. Folders and linked folders in the way are never touched.
    """
    _refuse_clashes(target, wanted["path"])
    paths = pl.concat([wanted["path"], state.files["path"]]).unique().sort()
    there = _identified(target, state, target.look(paths))
    gone = _gone(state, wanted, there)
    remove = gone.filter("is_ours")["path"].to_list()
    found = wanted.join(there, on="path", how="left", maintain_order="left")
    same = found.filter((pl.col("kind") == "file") & (pl.col("found_sha256") == pl.col("sha256")))
    rest = found.join(same, on="path", how="anti", maintain_order="left")
    ours = (pl.col("kind") == "file") & pl.col("is_ours")
    in_the_way = rest.filter(pl.col("kind").is_not_null() & ~ours.fill_null(value=False))
    _refuse(target, _others(target, in_the_way, set(remove), force=force))
    put = rest.with_columns(replace=pl.col("kind").is_in(["file", "link", "other"]).fill_null(value=False))
    return Plan(
        keep=same.select(
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
        left=tuple(gone.filter(~pl.col("is_ours"))["path"]),
    )


def _identified(target: Target, state: State, there: pl.DataFrame) -> pl.DataFrame:
    """What is there with its sha256, and whether a checkout wrote it: by its stamp where that can be trusted, else read."""
    known = state.files.filter(state.is_trusted).select(
        "path",
        "is_ours",
        found_sha256="sha256",
        found_bytes="size_bytes",
        found_ns="modified_ns",
        found_inode="inode",
    )
    stamp = ["path", "found_bytes", "found_ns", "found_inode"]
    by_stamp = there.join(known.unique(stamp), on=stamp, how="left", maintain_order="left")
    unknown = by_stamp.filter((pl.col("kind") == "file") & pl.col("found_sha256").is_null())["path"]
    with ThreadPoolExecutor(HASHERS, "hash") as pool:
        hashed = pl.DataFrame(
            {"path": unknown, "found_sha256": list(pool.map(target.sha256, unknown))},
            schema={"path": pl.String, "found_sha256": pl.Binary},
        )
    ours = state.files.group_by("path", found_sha256="sha256").agg(pl.col("is_ours").any())
    by_content = hashed.join(ours, on=["path", "found_sha256"], how="left")
    merged = by_stamp.join(by_content, on="path", how="left", suffix="_read", maintain_order="left")
    return merged.select(
        *there.columns,
        found_sha256=pl.coalesce("found_sha256", "found_sha256_read"),
        is_ours=pl.coalesce("is_ours", "is_ours_read"),
    )


def _gone(state: State, wanted: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    """Files that a checkout wrote, which are there and wanted no more. is_ours: whether each is still as it was written."""
    written = state.files.filter("is_ours").select("path").unique(maintain_order=True)
    files = there.filter(pl.col("kind") == "file").select("path", pl.col("is_ours").fill_null(value=False))
    return written.join(wanted.select("path"), on="path", how="anti").join(files, on="path", how="inner").sort("path")


def _others(target: Target, in_the_way: pl.DataFrame, removed: set[str], *, force: bool) -> Iterator[tuple[str, str]]:
    """What must not be touched, with the reason."""
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


def _refuse(target: Target, others: Iterator[tuple[str, str]]) -> None:
    found = list(others)
    if not found:
        return
    told = "; ".join(f"{path}: {why}" for path, why in found[:NAMED])
    more = f" and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
    raise CheckoutRefused(
        f"{target.folder} has {len(found):,} files in the way that no checkout wrote, or that were changed since "
        f"({told}{more}). Nothing was written. Move them, choose another folder, or replace files by --force; folders and "
        "what lies behind links always stay."
    )


def _refuse_clashes(target: Target, paths: pl.Series) -> None:
    ours = paths.filter(paths.str.to_lowercase().str.contains(f"^{re.escape(OWN)}(/|$)"))
    if len(ours):
        raise CheckoutRefused(f"The data set has a file {ours[0]!r}, where the checkout keeps its own. Nothing was written.")
    if target.folds_case and (clash := case_clash(paths)):
        raise CheckoutRefused(
            f"{clash[0]!r} and {clash[1]!r} are one name on the filesystem of {target.folder}: choose another, or "
            "leave one out by --where. Nothing was written."
        )


def case_clash(paths: pl.Series) -> tuple[str, str] | None:
    """Two of these paths that a filesystem which ignores case and composition of characters can't tell apart."""
    folded = pl.DataFrame({"path": paths, "folded": paths.str.normalize("NFKC").str.to_lowercase()})
    found = folded.filter(pl.col("folded").is_duplicated()).sort("folded", "path")["path"]
    return (found[0], found[1]) if len(found) else None
