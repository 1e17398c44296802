"""The command line: one module per command, all words through `texts`, all foreign text made harmless."""
