"""Versions: digests, manifests and references, and what is done with them: pin, check out, compare, verify, clean up."""
