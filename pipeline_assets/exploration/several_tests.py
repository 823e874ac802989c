"""What p values are worth where several things are tested. Pure."""

import numpy as np
import numpy.typing as npt


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The p values corrected for their number, in their order. Source: Holm 1979.

    Where all that is tested holds, the least of them is below a level in at most that share of cases, however they depend.
    """
    given = np.asarray(p_values, float)
    order = np.argsort(given, kind="stable")
    corrected = np.empty(len(given))
    corrected[order] = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)), 1.0)
    return corrected
