"""Alembic's entry: runs migrations on the file that `posthorn.storage.sqlite.migrate` names, all or none."""

import sqlite3

from alembic import context
from sqlalchemy import create_engine, event
from sqlalchemy.pool import StaticPool

from posthorn.storage.tables import metadata

_path = context.config.attributes["path"]
# Left to itself, Python's sqlite3 commits each CREATE TABLE alone, and a crash would leave half a schema behind.
_connection = sqlite3.connect(_path, isolation_level=None)
_engine = create_engine("sqlite://", creator=lambda: _connection, poolclass=StaticPool)
event.listen(_engine, "begin", lambda bound: bound.exec_driver_sql("BEGIN IMMEDIATE"))
try:
    with _engine.connect() as _bound:
        context.configure(connection=_bound, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
        with context.begin_transaction():
            context.run_migrations()
        _bound.commit()
finally:
    _connection.close()
