"""Where jobs survive: in memory, in a SQLite file, or in PostgreSQL.

`opening.open_store` chooses; everything else here is reached through the ports.
"""
