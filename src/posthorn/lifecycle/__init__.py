"""Background work that starts, runs, survives its crashes and stops: one inherited loop, one supervisor."""

from posthorn.lifecycle.service import Service, backoff_seconds
from posthorn.lifecycle.supervisor import Startable, Supervisor, serve_until_signal

__all__ = ["Service", "Startable", "Supervisor", "backoff_seconds", "serve_until_signal"]
