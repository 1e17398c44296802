"""Consuming events from brokers: one bridge for each source of kind broker, acknowledged after our commit."""
