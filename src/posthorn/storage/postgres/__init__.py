"""The store for many nodes: PostgreSQL 15 or newer through asyncpg."""
