"""Orders say where demonstrations are wanted, from what that follows, and what they brought; batches may end early."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ORDERS = ("part", "evidence", "result")


def upgrade() -> None:
    """Add what orders know of themselves, and which batch ended early or was run for an order."""
    for name, empty in zip(ORDERS, ("[]", "{}", "{}"), strict=True):
        op.add_column("work_order", sa.Column(name, sa.JSON(), nullable=False, server_default=empty))
    op.add_column("batch", sa.Column("ended", sa.String(), nullable=False, server_default=""))
    # SQLite takes a reference only together with its column.
    op.execute('ALTER TABLE batch ADD COLUMN "order" INTEGER CONSTRAINT fk_batch_order REFERENCES work_order (id)')
    op.create_index(op.f("ix_batch_order"), "batch", ["order"])


def downgrade() -> None:
    """Forget it."""
    op.drop_index(op.f("ix_batch_order"), "batch")
    op.drop_column("batch", "order")
    op.drop_column("batch", "ended")
    for name in ORDERS:
        op.drop_column("work_order", name)
