"""Files of a service, in pieces."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "files",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("body", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "file_bodies",
        sa.Column("number", key, nullable=False, autoincrement=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("is_whole", sa.SmallInteger(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_file_bodies_id", "file_bodies", ["id"])
    op.create_index("ix_file_bodies_expires_at", "file_bodies", ["expires_at"])
    op.create_table(
        "file_pieces",
        sa.Column("body", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("packed", sa.SmallInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("body", "number"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # What can be made smaller is so already.
        op.execute("ALTER TABLE file_pieces ALTER COLUMN data SET STORAGE EXTERNAL")
