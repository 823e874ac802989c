"""Learning from few labels, or none: projections, probes, pseudo-labels, embeddings of titles. Pure functions of arrays."""
