"""Deliveries on their way out: sign, send, classify, settle."""
