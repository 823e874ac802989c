"""The servers and processes that Darkroom starts: PostgreSQL, S3, the Dagster UI, runs."""
