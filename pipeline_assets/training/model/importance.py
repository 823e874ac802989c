"""Permutation importance: the loss of the model when one input is shuffled among photos.

Source: Breiman 2001, "Random forests", section 10; here the loss is in R2, after Fisher, Rudin and Dominici 2019.
"""

import numpy as np
import polars as pl
import torch

from pipeline_assets.training.model.feature_matrix import COLUMNS, CONTENT, FEATURES, positions
from pipeline_assets.training.model.popularity_net import PopularityNet
from pipeline_assets.training.model.scores import r_squared
from pipeline_assets.training.shards.dataset import StagedRows

REPEATS = 5
MAX_ROWS = 10_000


@torch.no_grad()
def permutation_importance(net: PopularityNet, rows: StagedRows, *, seed: int) -> pl.DataFrame:
    """Mean and standard deviation of the drop in R2 over `REPEATS` shuffles, largest mean first.

    Columns feature, source, r2_drop, r2_drop_deviation. Inputs that belong together (an hour's sine and
    cosine, a value and its missing flag, the whole embedding) are shuffled together, as one entry. At most `MAX_ROWS`
    rows count, drawn by `seed`. Correlated features share their importance: each looks smaller than it is.
    """
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(rows))[:MAX_ROWS])
    batch = rows.__getitems__(chosen.tolist())
    device = net.linear.device
    label, features = batch["label"].numpy(), batch["features"].to(device)
    content = net.content(batch["embedding"].to(device))
    full_score = r_squared(label, net.popularity(content, features).cpu().numpy())
    sources = {feature.label: feature.source for feature in FEATURES}
    entries = []
    for name in (CONTENT, *COLUMNS):
        drops = []
        for _ in range(REPEATS):
            order = torch.from_numpy(random.permutation(len(chosen))).to(device)
            shuffled = features.clone()
            columns = positions(label=name)
            shuffled[:, columns] = features[order][:, columns]
            content_used = content[order] if name == CONTENT else content
            drops.append(full_score - r_squared(label, net.popularity(content_used, shuffled).cpu().numpy()))
        entries.append((name, sources.get(name, "content"), float(np.mean(drops)), float(np.std(drops))))
    columns_of = {"feature": pl.String, "source": pl.String, "r2_drop": pl.Float64, "r2_drop_deviation": pl.Float64}
    return pl.DataFrame(entries, schema=columns_of, orient="row").sort("r2_drop", "feature", descending=[True, False])
