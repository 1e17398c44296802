"""The pure core of the work store: records, states, ports, shards, fairness, retry schedule. No SQL, no socket."""
