"""Putting the parts together and opening the doors."""
