"""Segment's HTTP tracking API, so that its libraries send events here when their host is changed."""
