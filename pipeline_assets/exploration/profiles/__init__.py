"""Profiles of tables: what a day has in each column, and whether that has drifted."""
