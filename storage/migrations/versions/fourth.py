"""What models inferred of episodes."""

import sqlalchemy as sa
from alembic import op

from storage.models import Moment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of labels."""
    op.create_table(
        "labelling",
        sa.Column("artefact", sa.String(), nullable=False),
        sa.Column("episode", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.BigInteger(), nullable=False),
        sa.Column("shape", sa.JSON(), nullable=False),
        sa.Column("codes", sa.LargeBinary(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["episode"], ["episode.id"], name=op.f("fk_labelling_episode")),
        sa.PrimaryKeyConstraint("artefact", "episode", name=op.f("pk_labelling")),
    )
    op.create_index(op.f("ix_labelling_episode"), "labelling", ["episode"])


def downgrade() -> None:
    """Forget the labels; the models can infer them again."""
    op.drop_table("labelling")
