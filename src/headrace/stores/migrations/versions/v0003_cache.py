"""Answers that are kept, and who makes one that is missing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "cache_entries",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("fresh_until", sa.Double(), nullable=True),
        sa.Column("kept_until", sa.Double(), nullable=True),
        sa.Column("used_at", sa.Double(), nullable=False),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("cache_entries_used", "cache_entries", ["used_at", "size", "hits"])
    op.create_index("ix_cache_entries_kept_until", "cache_entries", ["kept_until"])
    op.create_table(
        "cache_leases",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
