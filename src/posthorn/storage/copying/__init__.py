"""Copying a whole store into a new one, also from SQLite to PostgreSQL and back: resumable, and verified at its end."""
