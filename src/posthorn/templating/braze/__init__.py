"""The Braze dialect of Liquid: what its authors write, rewritten for the parser of the default dialect."""
