"""Nights, the programs that take jobs, and what becomes of old episodes."""

import sqlalchemy as sa
from alembic import op

from storage.models import Moment

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables of nights, of workers and of rules for keeping."""
    op.create_table(
        "night",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("began", Moment(), nullable=False),
        sa.Column("ended", Moment(), nullable=True),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("champion", sa.Uuid(), nullable=True),
        sa.Column("candidate", sa.Uuid(), nullable=True),
        sa.Column("batch", sa.String(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["task.name"], name=op.f("fk_night_task")),
        sa.ForeignKeyConstraint(["champion"], ["policy.id"], name=op.f("fk_night_champion")),
        sa.ForeignKeyConstraint(["candidate"], ["policy.id"], name=op.f("fk_night_candidate")),
        sa.ForeignKeyConstraint(["batch"], ["batch.id"], name=op.f("fk_night_batch")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_night")),
    )
    op.create_index(op.f("ix_night_task"), "night", ["task"])
    op.create_table(
        "worker",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("beat", sa.Integer(), nullable=False),
        sa.Column("since", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker")),
    )
    op.create_table(
        "keeping_rule",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("does", sa.String(length=16), nullable=False),
        sa.Column("days", sa.Double(), nullable=False),
        sa.Column("task", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("agent", sa.String(), nullable=True),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("made", Moment(), nullable=False),
        sa.Column("ended", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["task"], ["task.name"], name=op.f("fk_keeping_rule_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keeping_rule")),
    )


def downgrade() -> None:
    """Forget nights, workers and rules."""
    op.drop_table("keeping_rule")
    op.drop_table("worker")
    op.drop_table("night")
