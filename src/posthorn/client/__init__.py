"""Sends events to Posthorn from Python: `Client` for threads, `AsyncClient` for asyncio.

It stands alone: nothing else of Posthorn is imported, so the server may be of another version. The wire is Segment's
HTTP tracking API (`POST /v1/batch`) and our own `POST /api/v1/event`. Events are batched, kept while the server is
away, and repeated under the same id, by which the server tells a repetition.
"""

from posthorn.client.asynchronous import AsyncClient
from posthorn.client.blocking import Client
from posthorn.client.errors import (
    ClientClosed,
    ClientError,
    EventConflict,
    EventTooLarge,
    InvalidCall,
    Lost,
    NoAnswer,
    NotSentInTime,
    QueueFull,
    SendingError,
    ServerBusy,
    ServerRefused,
)
from posthorn.client.losses import OnLost
from posthorn.client.options import Options
from posthorn.client.outbox import Counts

__all__ = [
    "AsyncClient",
    "Client",
    "ClientClosed",
    "ClientError",
    "Counts",
    "EventConflict",
    "EventTooLarge",
    "InvalidCall",
    "Lost",
    "NoAnswer",
    "NotSentInTime",
    "OnLost",
    "Options",
    "QueueFull",
    "SendingError",
    "ServerBusy",
    "ServerRefused",
]
