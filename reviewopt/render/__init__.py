"""Reports and progress for people."""
