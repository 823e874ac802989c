"""The sample: photos that come with a dependency, and a simulator of users, posts and logs with a known truth."""
