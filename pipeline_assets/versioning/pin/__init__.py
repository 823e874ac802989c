"""What a version is: manifests, references in git, and how they are made, read and verified."""
