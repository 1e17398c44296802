"""Schema migrations, run by Alembic at the start."""
