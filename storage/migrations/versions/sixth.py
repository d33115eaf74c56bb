"""Which policy a task is done with, from when on, and why."""

import sqlalchemy as sa
from alembic import op

from storage.models import Moment

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of promotions."""
    op.create_table(
        "promotion",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("policy", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("made", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["task.name"], name=op.f("fk_promotion_task")),
        sa.ForeignKeyConstraint(["policy"], ["policy.id"], name=op.f("fk_promotion_policy")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion")),
    )
    op.create_index(op.f("ix_promotion_task"), "promotion", ["task"])


def downgrade() -> None:
    """Forget who was champion when."""
    op.drop_table("promotion")
