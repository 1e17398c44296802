"""The benchmark: constant-rate load, measured at the receiver, with the ceiling in the same run."""
