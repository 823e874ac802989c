"""Campaigns: what is asked of whom, and the rows of tasks and answers."""
