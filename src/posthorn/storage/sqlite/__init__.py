"""The embedded store: one SQLite file, one writer thread, short reads inline, long reads in threads."""
