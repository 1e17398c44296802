"""What comes in: inbox addresses, events, messages. Verified, deduplicated, and answered only once it is durable."""
