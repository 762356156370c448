"""Keeping the identity graph: the promise, the group commit, and the backends."""
