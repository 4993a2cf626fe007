"""Asking a model over a pool of threads: how fast, what again, and at what price."""
