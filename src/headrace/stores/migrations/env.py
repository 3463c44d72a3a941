"""What Alembic runs: the migrations, on the connection that `migrating` hands over."""

from __future__ import annotations

from alembic import context

from headrace.stores.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata
)
with context.begin_transaction():
    context.run_migrations()
