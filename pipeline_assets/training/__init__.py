"""From joined rows to a model: training table, staged shards, popularity model."""
