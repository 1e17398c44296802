"""Secrets at rest: sealing under master keys, and loading those keys."""

from posthorn.vault.keyring import KeyRing, VaultError, key_id
from posthorn.vault.loading import ENVIRONMENT_NAME, load_key_ring, new_master_key

__all__ = [
    "ENVIRONMENT_NAME",
    "KeyRing",
    "VaultError",
    "key_id",
    "load_key_ring",
    "new_master_key",
]
