"""Weak supervision: labels by many crude functions instead of people."""
