"""Answers we own, in three tiers: exact in memory, similar texts, and the archive on disk, which alone is the truth."""
