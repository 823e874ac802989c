"""Ingestion: what was uploaded, what the database says of it, and what the logs saw."""
