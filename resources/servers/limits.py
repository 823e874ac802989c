"""Kernel limits of our processes: no core files, which would contain secrets, and enough open files."""

import resource

from resources.errors import ServiceFailed

FEWEST_FILES, ENOUGH_FILES = 1024, 4096


def set_limits() -> None:
    """Set the limits for this process and its children. Raises ServiceFailed if it may not open enough files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FEWEST_FILES:
        raise ServiceFailed(
            f"This process may open {hard:,} files at once; PostgreSQL, S3 and Darkroom need {FEWEST_FILES:,}. Raise that "
            f"(`ulimit -n {ENOUGH_FILES}`; where that is refused: nofile in /etc/security/limits.conf, LimitNOFILE= of the "
            "service, or --ulimit of the container), then run again. Nothing was started."
        )
    target = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_FILES)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
