"""The popularity model: features, network, training, baselines, scores and plots."""
