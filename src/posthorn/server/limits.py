"""What the machine lets this process have."""

import gc
import resource
import sys

_KEPT_BACK = 512
_SHARE_OF_FILES = 3 / 4
_MOST_SLOTS = 8192
_ALLOCATIONS_PER_COLLECTION = 20_000
_SWITCH_SECONDS = 0.001


def raise_open_files() -> int:
    """Raise the limit of open files as far as allowed; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1_048_576
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def delivery_slots(open_files: int) -> int:
    """Return how many attempts may be in flight at once, leaving files for callers and the store."""
    return max(64, min(_MOST_SLOTS, int((open_files - _KEPT_BACK) * _SHARE_OF_FILES)))


def share_the_interpreter() -> None:
    """Let the writer thread have its turn after 1 ms in place of 5 ms.

    A commit takes the interpreter lock about ten times, and under load it waited for each of them.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)


def settle_memory() -> None:
    """Take what the start made out of the garbage collector's sight, and let it look less often.

    Hundreds of thousands of objects of frameworks never become garbage; walking them stopped everything for tens of
    milliseconds, several times a second at full load.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(_ALLOCATIONS_PER_COLLECTION, 20, 50)
