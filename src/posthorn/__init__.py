"""Posthorn: receive, decide, deliver, with a journal of everything."""

__version__ = "0.1.0"
