"""Turns tasks into encoded variants: a few threads decode, change and encode, in memory independent of the number of
tasks.

Consecutive tasks with the same first parent decode it once. Each thread decodes a few parents, then changes their
variants in batches of one recipe, then encodes them, while the data are in its core's cache.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pipeline_assets.classify.runners import single_threaded_pool
from pipeline_assets.errors import UnfitParent
from pipeline_assets.runtime.allocators import keep_freed_memory
from pipeline_assets.runtime.cores import core_count
from pipeline_assets.runtime.workers import Work as Stages
from pipeline_assets.runtime.workers import Workers
from pipeline_assets.variants.kinds import Made, Outcome, Parent, Task, Work
from pipeline_assets.variants.photos import codec, pixels, plans
from pipeline_assets.variants.photos.codec import Photo, Pixels
from pipeline_assets.variants.photos.effects import Canvas, Fit
from pipeline_assets.variants.photos.plans import LONGEST_ASPECT, Compiled, Labelled, Plan, Region

CPU_BATCH_PX = 3 * 224 * 224
"""Pixels of a batch on CPU: it lies in the core's own cache, as warps want."""
DEVICE_BATCH_PX = 64 * 224 * 224
GROUP_PX = 16 * 224 * 224
"""Pixels of the canvases of a group: what bounds memory."""
GROUP_TASKS = 16
"""Tasks that share a decode, at most."""
GROUPS = 32
"""Groups of tasks that a thread holds to find batches among."""


RECENT_PX = 64 * 224 * 224
"""Pixels of fitted parents that are kept: partners in mixing are often parents themselves before or after."""


@dataclass(frozen=True)
class Job:
    """A task with its parents and its recipe compiled."""

    task: Task
    parents: tuple[Parent, ...]
    recipe: Compiled


@dataclass(frozen=True)
class Prepared:
    """A job with its pixels fitted. base: the parent, only fitted; other: the second parent, fitted."""

    job: Job
    plan: Plan
    labels: dict[str, object]
    base: Pixels
    start: Pixels
    other: Pixels | None


Ready = tuple[Task, Prepared | UnfitParent]
Changed = tuple[Task, tuple[Prepared, Pixels] | UnfitParent]


def make(
    work: Iterable[Work], *, device: str = "cpu", threads: int | None = None, batch_px: int | None = None
) -> Iterator[Outcome]:
    """Yield each task with its variant or the reason that it has none. threads: one per core by default."""
    keep_freed_memory()
    count = threads or core_count()
    torch_device = torch.device(device)
    pixels_at_once = batch_px or (CPU_BATCH_PX if torch_device.type == "cpu" else DEVICE_BATCH_PX)
    recent = Recent()
    stages: Stages[list[Job], list[Ready], list[Outcome]] = Stages(
        lambda group: prepare(group, recent), lambda groups: finish(groups, torch_device, pixels_at_once), GROUPS
    )
    with single_threaded_pool(count) as pool:
        yield from _outcomes(stages, pool, count, grouped(work))


@dataclass(frozen=True)
class Base:
    """A fitted parent. region: the part of the whole photo that it shows, in pixels of the photo."""

    pixels: Pixels
    region: Region


class Recent:
    """The square bases of the last parents, which later mixes may need as second photos. Thread-safe."""

    def __init__(self) -> None:
        self._bases: OrderedDict[tuple[str, int], Base] = OrderedDict()
        self._pixels = 0
        self._lock = threading.Lock()

    def get(self, sha256: str, side_px: int) -> Base | None:
        """The base, or None if it is no longer kept."""
        with self._lock:
            return self._bases.get((sha256, side_px))

    def put(self, sha256: str, side_px: int, base: Base) -> None:
        """Keep a base, and remove the oldest beyond the limit."""
        with self._lock:
            if (sha256, side_px) in self._bases:
                return
            self._bases[sha256, side_px] = base
            self._pixels += side_px**2
            while self._pixels > RECENT_PX and len(self._bases) > 1:
                (_, side), _ = self._bases.popitem(last=False)
                self._pixels -= side**2


class Source:
    """A content within a group of tasks: decoded when first needed; an error is kept and raised again.

    It has no labels: each job has its own, since the same bytes may have different labels.
    """

    def __init__(self, parent: Parent, fit: Fit, recent: Recent) -> None:
        self._sha256, self._data, self._fit, self._recent = parent.sha256, parent.data, fit, recent
        self._photo: Photo | UnfitParent | None = None
        self._bases: dict[Canvas, Base] = {}

    @property
    def photo(self) -> Photo:
        """The decoded parent. Raises UnfitParent."""
        if self._photo is None:
            try:
                self._photo = codec.decoded(_bytes(self._data), self._fit.side_px)
            except UnfitParent as unfit:
                self._photo = unfit
        if isinstance(self._photo, UnfitParent):
            raise self._photo
        return self._photo

    def base(self, canvas: Canvas | None = None) -> Base:
        """The parent on this canvas, or on its own. Raises UnfitParent."""
        if self._fit.is_square:
            canvas = Canvas(self._fit.side_px, self._fit.side_px)
            recent_base = self._recent.get(self._sha256, canvas.width)
            if recent_base is not None:
                return recent_base
        photo = self.photo
        canvas = canvas or plans.canvas_of(self._fit, *photo.size)
        if canvas not in self._bases:
            region = photo.snapped(plans.centred(canvas, *photo.size))
            self._bases[canvas] = Base(photo.fitted(canvas, region), region)
            if self._fit.is_square:
                self._recent.put(self._sha256, canvas.width, self._bases[canvas])
        return self._bases[canvas]


def grouped(work: Iterable[Work]) -> Iterator[list[Job]]:
    """Group consecutive jobs with the same first parent and fit, within the memory limit.

    An error raised by `work` is raised after the group before it.
    """
    group: list[Job] = []
    try:
        for task, parents in work:
            job = Job(task, parents, plans.compiled(task.recipe))
            if group and (not _are_siblings(group[0], job) or len(group) == _most_in_group(job.recipe.fit)):
                yield group
                group = []
            group.append(job)
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group


def _are_siblings(one: Job, other: Job) -> bool:
    return one.task.parents[0] == other.task.parents[0] and one.recipe.fit == other.recipe.fit


def prepare(group: list[Job], recent: Recent) -> list[Ready]:
    """Decode the parents of jobs that share the first one, and fit them."""
    fit = group[0].recipe.fit
    sources = {parent.sha256: Source(parent, fit, recent) for job in group for parent in job.parents}
    return [(job.task, _prepared(job, [sources[parent.sha256] for parent in job.parents])) for job in group]


def change(ready: Iterable[Ready], device: torch.device, batch_px: int = CPU_BATCH_PX) -> Iterator[Changed]:
    """Apply effects, in batches of one recipe and size."""
    waiting: dict[tuple[Compiled, Canvas], list[Prepared]] = {}
    for task, item in ready:
        if isinstance(item, UnfitParent):
            yield task, item
        else:
            waiting.setdefault((item.job.recipe, item.plan.canvas), []).append(item)
    for (_, canvas), items in waiting.items():
        rows = max(1, batch_px // (canvas.width * canvas.height))
        for at in range(0, len(items), rows):
            yield from _changed(items[at : at + rows], device)


def encode(task: Task, item: Prepared, result: Pixels) -> Outcome:
    """Encode a result, with the values of its row."""
    height, width = result.shape[:2]
    columns = {"width_px": width, "height_px": height, "phash": codec.perceptual_hash(result)}
    form = item.job.recipe.encoding
    return task, Made(codec.encoded(result, form), form.media_type, form.described, item.labels, columns)


def finish(groups: Iterable[list[Ready]], device: torch.device, batch_px: int) -> list[list[Outcome]]:
    """Change and encode prepared jobs. Returns as many lists of outcomes as groups; an outcome may be in any list."""
    groups = list(groups)
    outcomes: list[Outcome] = []
    with torch.inference_mode():
        for task, item in change((ready for group in groups for ready in group), device, batch_px):
            outcomes.append((task, item) if isinstance(item, UnfitParent) else encode(task, *item))
    return [outcomes, *([] for _ in groups[1:])]


def _outcomes(
    stages: "Stages[list[Job], list[Ready], list[Outcome]]",
    pool: ThreadPoolExecutor,
    threads: int,
    groups: Iterable[list[Job]],
) -> Iterator[Outcome]:
    chunks = Workers(stages, pool, threads).results(groups, GROUPS)
    try:
        for chunk in chunks:
            for outcomes in chunk:
                yield from outcomes
    finally:
        chunks.close()


def _most_in_group(fit: Fit) -> int:
    largest = fit.side_px**2 * (1 if fit.is_square else LONGEST_ASPECT)
    return max(1, min(GROUP_TASKS, int(GROUP_PX // largest)))


def _bytes(data: bytes | Path) -> bytes:
    if not isinstance(data, Path):
        return data
    try:
        return data.read_bytes()
    except OSError as error:
        raise UnfitParent("gone", f"{data} can't be read: {error.strerror}") from error


def _prepared(job: Job, sources: list[Source]) -> Prepared | UnfitParent:
    source = sources[0]
    try:
        base = source.base()
        height, width = base.pixels.shape[:2]
        canvas = Canvas(width, height)
        plan, start = plans.plan(job.recipe, job.task.seed, canvas, base.region), base.pixels
        if plan.region != base.region:
            plan = replace(plan, region=source.photo.snapped(plan.region))
            start = source.photo.fitted(canvas, plan.region)
        other = sources[1].base(canvas) if len(sources) > 1 else None
        other_labels = Labelled(job.parents[1].labels, other.region) if other else None
        labels = plans.labels_after(plan, Labelled(job.parents[0].labels, plan.region), other_labels)
    except UnfitParent as unfit:
        return unfit
    start = codec.mirrored(start, plan.mirrored)
    return Prepared(job, plan, labels, base.pixels, start, other.pixels if other else None)


def _changed(items: list[Prepared], device: torch.device) -> Iterator[Changed]:
    results = [item.start for item in items]
    if items[0].plan.effects:
        others = [item.other for item in items if item.other is not None]
        changed = pixels.apply_to_pictures(
            _batch(results, device), [item.plan.effects for item in items], _batch(others, device) if others else None
        )
        results = list(changed.cpu().numpy())
    for item, result in zip(items, results, strict=True):
        if _are_equal(result, item.base):
            yield item.job.task, UnfitParent("unchanged", "the result's pixels are those of the fitted parent")
        else:
            yield item.job.task, (item, result)


def _are_equal(result: Pixels, base: Pixels) -> bool:
    """A few pixels tell nearly always. result: perhaps with a fourth byte."""
    if result[::16, ::16, :3].tobytes() != base[::16, ::16].tobytes():
        return False
    return np.array_equal(result[..., :3], base)


def _batch(images: list[Pixels], device: torch.device) -> torch.Tensor:
    """(B, 3, H, W) uint8 on the device, channels last in memory."""
    return torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2)
