"""Marks that receive, decide and deliver have to agree on: each is written by one room and read by another."""

HOPS_HEADER = "posthorn-hops"
"""The header that counts through how many Posthorns a request came."""

MASK = "••••••"
"""What the journal shows in the place of a secret."""
