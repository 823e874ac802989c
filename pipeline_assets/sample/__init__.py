"""The sample: photos from a dependency, and a simulator of users, posts and logs with a known truth."""
