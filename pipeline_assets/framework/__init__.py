"""Declares, plans, computes, judges, commits and reports any table; decides which days are stale."""
