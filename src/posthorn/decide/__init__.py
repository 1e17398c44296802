"""If this, then that: conditions, eligibility and rendering, committed with the event's settlement, exactly once."""
