"""Keeping the store small: retention and expired claims."""
