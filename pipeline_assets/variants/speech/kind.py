"""Speech as a kind of data: whole clips in memory, one after the other, with the times of their words."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from pipeline_assets.errors import BadRecipe, UnfitParent
from pipeline_assets.labeling import segments
from pipeline_assets.variants.kinds import Made, Outcome, Parent, Task, Work
from pipeline_assets.variants.recipes import Recipe, generator
from pipeline_assets.variants.speech import sound
from pipeline_assets.variants.speech.catalogue import ENCODINGS, SPEECH

RECIPES = {
    "speed": Recipe("speed", factor=(0.9, 1.1)),
    "tempo": Recipe("tempo", factor=(0.85, 1.15)),
    "pitch": Recipe("pitch", semitones=(-2.0, 2.0)),
    "pause": Recipe("pause", duration_s=(0.1, 0.4)),
    "noise": Recipe("noise", snr_db=(10.0, 30.0)),
    "pink_noise": Recipe("noise", snr_db=(10.0, 30.0), colour="pink"),
    "quieter": Recipe("gain", db=(-12.0, -3.0)),
    "room": Recipe("room", rt60_s=(0.2, 0.6)),
    "concatenate": Recipe("concatenate", gap_s=(0.1, 0.5)),
    "mix": Recipe("mix", snr_db=(5.0, 15.0)),
    "far_speaker": Recipe("speed", factor=(0.9, 1.1)).then(
        Recipe("room", rt60_s=(0.2, 0.5)), Recipe("noise", snr_db=(15.0, 30.0), colour="pink")
    ),
}


class Speech:
    """Variants of WAV, FLAC, MP3 and Ogg files, as FLAC by default."""

    name = "speech"
    heeds_labels = False
    labels_version = 1
    operations = SPEECH
    recipes = RECIPES

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe with its encoding, resolved. Raises BadRecipe."""
        ends = [step.name in ENCODINGS for step in recipe.steps]
        if any(ends[:-1]):
            raise BadRecipe(f"{' and '.join(ENCODINGS)} are encodings: a recipe has one of them, as its last step.")
        if len(ends) == sum(ends):
            raise BadRecipe("a recipe of speech needs a step before the encoding.")
        return SPEECH.resolve(recipe if ends[-1] else recipe.then(Recipe("flac")))

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """Yield each task with its variant, in order; consecutive tasks with the same parent decode it once."""
        decoded: dict[str, sound.Clip | UnfitParent] = {}
        for task, parents in work:
            decoded = {parent.sha256: decoded.get(parent.sha256) or _read(parent) for parent in parents}
            try:
                yield task, _variant(task, parents, [_or_raise(decoded[parent.sha256]) for parent in parents])
            except UnfitParent as unfit:
                yield task, unfit

    def problems(self, variant: Made) -> list[str]:
        """Segments outside the clip."""
        return segments.problems(variant.labels.get("segments", []), variant.columns["duration_s"])

    def contact_sheet(self, rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """Waveforms above spectrograms, with segments' words at their times."""
        from pipeline_assets.variants.speech.pictures import sheet

        return sheet(rows)


def _read(parent: Parent) -> sound.Clip | UnfitParent:
    """The parent's sound without labels. Labels are read for each task: the same bytes may have different ones."""
    try:
        return sound.read(parent.data)
    except UnfitParent as unfit:
        return unfit


def _or_raise(clip: sound.Clip | UnfitParent) -> sound.Clip:
    if isinstance(clip, UnfitParent):
        raise UnfitParent(clip.reason, clip.detail)
    return clip


def _variant(task: Task, parents: tuple[Parent, ...], clips: list[sound.Clip]) -> Made:
    clip, *others = (
        replace(clip, segments=segments.of_labels(parent.labels, clip.duration_s))
        for parent, clip in zip(parents, clips, strict=True)
    )
    before = clip
    *steps, last = task.recipe.steps
    for number, step in enumerate(steps):
        operation = SPEECH[step.name]
        random = generator(task.seed, f"{number} {step.name}")
        clip = operation.function(clip, random, *others[: operation.parents - 1], **dict(step.parameters))
        if clip.samples.size > 4 * sound.DEFAULT_LIMITS.max_samples:
            raise UnfitParent("too_long", f"the result would last {clip.duration_s:.0f} s")
    bits = dict(last.parameters)["bits"]
    if _are_equal(before, clip, bits):
        raise UnfitParent("unchanged", "the result sounds as its parent does, to the sample")
    labels = segments.as_labels(parents[0].labels, clip.segments)
    data: bytes = SPEECH[last.name].function(clip, generator(task.seed, last.name), bits=bits)
    return Made(data, ENCODINGS[last.name], f"{last.name}, {bits} bits, lossless", labels, _columns(clip))


def _are_equal(before: sound.Clip, after: sound.Clip, bits: int) -> bool:
    return (
        before.samples.shape == after.samples.shape
        and before.rate_hz == after.rate_hz
        and bool((sound.whole_numbers(before.samples, bits) == sound.whole_numbers(after.samples, bits)).all())
    )


def _columns(clip: sound.Clip) -> dict[str, Any]:
    return {"duration_s": clip.duration_s, "sample_rate_hz": clip.rate_hz, "channels": clip.samples.shape[1]}
