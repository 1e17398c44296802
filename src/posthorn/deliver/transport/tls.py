"""The TLS settings of every outbound connection."""

import ssl
from pathlib import Path

from posthorn.errors import StartRefused


def client_context(extra_ca_file: Path | None = None) -> ssl.SSLContext:
    """Build a context that verifies chain and host name, speaks TLS 1.2 or newer, and offers HTTP/1.1 only.

    `extra_ca_file` (PEM) is trusted beside the system's authorities. Raises StartRefused when it cannot be
    read.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if extra_ca_file is not None:
        try:
            context.load_verify_locations(cafile=extra_ca_file)
        except (OSError, ValueError) as error:
            raise StartRefused(
                f"The CA file {extra_ca_file} cannot be used ({error}); give a readable PEM file."
            ) from error
    return context
