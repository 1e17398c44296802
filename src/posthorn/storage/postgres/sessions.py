"""What each kind of session asks of the server."""

from collections.abc import Mapping

_ALL = {
    "application_name": "posthorn",
    "timezone": "UTC",
    "synchronous_commit": "on",
    "jit": "off",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
# The hot statements reach every row through an index, whatever the statistics say of tables that were empty a minute
# ago; planning them anew each time would cost more than running them.
_HOT = {
    "statement_timeout": "30s",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_sort": "off",
    "enable_incremental_sort": "off",
    "enable_material": "off",
    "enable_memoize": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
# A plan that fits all values reads a whole endpoint's history for ten rows. Workers of a parallel plan cost 5 to 15 ms
# for each question, and take processor time from the hot path.
_READER = {
    "statement_timeout": "60s",
    "plan_cache_mode": "force_custom_plan",
    "max_parallel_workers_per_gather": "0",
}
_TRANSACTION_TIMEOUT_SINCE = 17


def hot_settings(server_version: int) -> Mapping[str, str]:
    """Return the settings of hot connections, without those that a server of this version does not know."""
    settings = _ALL | _HOT
    if server_version >= _TRANSACTION_TIMEOUT_SINCE:
        settings["transaction_timeout"] = "15s"
    return settings


def reader_settings() -> Mapping[str, str]:
    """Return the settings of connections for long reads."""
    return _ALL | _READER


def upkeep_settings(*, lock_timeout: str = "0") -> Mapping[str, str]:
    """Return the settings of a connection for rare, long work: migrations, partitions, locks that others wait for."""
    return _ALL | {"lock_timeout": lock_timeout, "statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
