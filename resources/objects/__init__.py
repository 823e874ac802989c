"""Objects in S3 buckets or folders."""
