"""What jobs have spent, what outcomes cost; notes of what a process has learnt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for name in ("input_tokens", "output_tokens", "cost_nano"):
        op.add_column(
            "jobs",
            sa.Column(
                name, sa.BigInteger(), nullable=False, server_default=sa.text("0")
            ),
        )
    op.add_column("results", sa.Column("cost_nano", sa.BigInteger(), nullable=True))
    op.create_table(
        "notes",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("written_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
