"""The simulator's known truth: the number of views of a photo, and their times.

For a photo with `appeal` A (`appeal.appeal`; 0 where the bytes do not decode), posted in UTC hour H by a user with F
followers at that moment and L logins in the 7 days before it:

    ln m = BASE + A_APPEAL A + A_HOUR cos(2 pi (H - PEAK_HOUR) / 24)
                + A_FOLLOWERS (ln(1 + F) - ln 101) + A_LOGINS (ln(1 + L) - ln 6)
    m    = expected views in the first 7 days
    luck ~ Gamma(shape LUCK_SHAPE, mean 1), one per photo, unobserved
    views of the whole life ~ Poisson(luck m / SHARE_7D), each at posted_at + an exponential age of mean DECAY_DAYS,
                cut at LIFE_DAYS; SHARE_7D is the part of that distribution below 7 days

So views in the first 7 days are Poisson(luck m): their mean is m exactly, their variance m + m^2 / LUCK_SHAPE. Luck
keeps the oracle from a perfect score: with some 100 views per photo, Poisson noise alone would leave R2 near 0.99.
"""

import numpy as np

from pipeline_assets.features import popularity
from pipeline_assets.sample.population import DAY_US, Floats, Ints

BASE = 4.25
A_APPEAL = 0.6
A_HOUR = 0.35
PEAK_HOUR = 19
A_FOLLOWERS = 0.3
A_LOGINS = 0.45
LUCK_SHAPE = 12.0
DECAY_DAYS = 3.0
LIFE_DAYS = 21
SHARE_7D = float(np.expm1(-popularity.MATURITY_DAYS / DECAY_DAYS) / np.expm1(-LIFE_DAYS / DECAY_DAYS))


def expected_views(appeal: Floats, hour: Ints, followers: Ints, logins_7d: Ints) -> Floats:
    """The truth: m of the module's formula, mean views in the first 7 days. All of one shape."""
    log_mean = (
        BASE
        + A_APPEAL * appeal
        + A_HOUR * np.cos(2 * np.pi * (hour - PEAK_HOUR) / 24)
        + A_FOLLOWERS * (np.log1p(followers) - np.log(101))
        + A_LOGINS * (np.log1p(logins_7d) - np.log(6))
    )
    return np.exp(log_mean)


def views(expected: Floats, posted_us: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """All views of the photos' whole lives, as (photo position, time), ordered by photo.

    expected: m of each photo; posted_us: microseconds since 1970, like the times returned; both of one length.
    """
    luck = rng.gamma(LUCK_SHAPE, 1 / LUCK_SHAPE, len(expected))
    photo = np.repeat(np.arange(len(expected)), rng.poisson(luck * expected / SHARE_7D))
    # Inverse of the cut exponential's distribution function.
    age_days = -DECAY_DAYS * np.log1p(rng.random(len(photo)) * np.expm1(-LIFE_DAYS / DECAY_DAYS))
    return photo, posted_us[photo] + (age_days * DAY_US).astype(np.int64)
