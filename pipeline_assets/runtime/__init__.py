"""Memory, cores, batches, transfers and progress on one machine, for any computation."""
