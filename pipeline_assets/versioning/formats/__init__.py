"""Formats of others: what a pinned data set is written as for their tools, and what is read of theirs."""
