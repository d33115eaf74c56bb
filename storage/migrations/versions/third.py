"""An episode may repeat another one's motion, and says so."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let episodes name the one that they follow."""
    # SQLite takes a reference only together with its column.
    kind = "UUID" if op.get_bind().dialect.name == "postgresql" else "CHAR(32)"
    op.execute(f"ALTER TABLE episode ADD COLUMN follows {kind} CONSTRAINT fk_episode_follows REFERENCES episode (id)")
    op.create_index(op.f("ix_episode_follows"), "episode", ["follows"])


def downgrade() -> None:
    """Forget which episodes repeat which; their files still say it."""
    op.drop_index(op.f("ix_episode_follows"), "episode")
    op.drop_column("episode", "follows")
