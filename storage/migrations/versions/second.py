"""How episodes stand, what was done to them, and what they were recorded with; old verdicts are carried over."""

import sqlalchemy as sa
from alembic import op

from storage.models import Moment

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and fill those that follow from what is there."""
    _create_what_episodes_name()
    _widen_episodes()
    _create_history()
    _create_standing()
    _carry_up()


def downgrade() -> None:
    """Take the tables away. Episodes, verdicts and snapshots stay; edits, calibrations and work orders are lost."""
    for table in ["standing", "snapshot_episode", "merge", "edit", "kit", "stream"]:
        op.drop_table(table)
    op.drop_index(op.f("ix_episode_order"), "episode")
    for column in ["order", "late", "skew", "lost", "gap", "bytes", "station_digest"]:
        op.drop_column("episode", column)
    for table in ["work_order", "calibration", "station", "operator"]:
        op.drop_table(table)


def _create_what_episodes_name() -> None:
    op.create_table(
        "operator",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("since", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_operator")),
    )
    op.create_table(
        "station",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("since", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_station")),
    )
    op.create_index(op.f("ix_station_name"), "station", ["name"])
    op.create_table(
        "calibration",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("made", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration")),
    )
    op.create_index(op.f("ix_calibration_station"), "calibration", ["station"])
    op.create_table(
        "work_order",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("condition", sa.JSON(), nullable=False),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("made", Moment(), nullable=False),
        sa.Column("closed", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["task"], ["task.name"], name=op.f("fk_work_order_task")),
        sa.ForeignKeyConstraint(["failure"], ["failure_mode.code"], name=op.f("fk_work_order_failure")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_order")),
    )
    op.create_index(op.f("ix_work_order_task"), "work_order", ["task"])


def _widen_episodes() -> None:
    op.add_column("episode", sa.Column("station_digest", sa.String(), nullable=False, server_default=""))
    op.add_column("episode", sa.Column("bytes", sa.BigInteger(), nullable=False, server_default="0"))
    for grade in ["gap", "lost", "skew", "late"]:
        op.add_column("episode", sa.Column(grade, sa.Double(), nullable=True))
    # SQLite takes a reference only together with its column.
    op.execute('ALTER TABLE episode ADD COLUMN "order" INTEGER CONSTRAINT fk_episode_order REFERENCES work_order (id)')
    op.create_index(op.f("ix_episode_order"), "episode", ["order"])


def _create_history() -> None:
    op.create_table(
        "stream",
        sa.Column("episode", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("hz", sa.Double(), nullable=True),
        sa.Column("camera", sa.Boolean(), nullable=False),
        sa.Column("gap", sa.Double(), nullable=True),
        sa.Column("lost", sa.Double(), nullable=True),
        sa.Column("calibration", sa.Integer(), nullable=True),
        sa.Column("serial", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["episode"], ["episode.id"], name=op.f("fk_stream_episode")),
        sa.ForeignKeyConstraint(["calibration"], ["calibration.id"], name=op.f("fk_stream_calibration")),
        sa.PrimaryKeyConstraint("episode", "name", name=op.f("pk_stream")),
    )
    op.create_table(
        "kit",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("serial", sa.String(), nullable=False),
        sa.Column("calibration", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["calibration"], ["calibration.id"], name=op.f("fk_kit_calibration")),
        sa.PrimaryKeyConstraint("id", "device", name=op.f("pk_kit")),
    )
    op.create_table(
        "edit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("episode", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("made", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["episode"], ["episode.id"], name=op.f("fk_edit_episode")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_edit")),
    )
    op.create_index(op.f("ix_edit_episode"), "edit", ["episode"])
    op.create_index(op.f("ix_edit_kind"), "edit", ["kind"])
    op.create_table(
        "merge",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("into", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("made", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["task.name"], name=op.f("fk_merge_task")),
        sa.ForeignKeyConstraint(["into"], ["task.name"], name=op.f("fk_merge_into")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merge")),
    )
    op.create_table(
        "snapshot_episode",
        sa.Column("snapshot", sa.String(), nullable=False),
        sa.Column("episode", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["snapshot"], ["snapshot.id"], name=op.f("fk_snapshot_episode_snapshot")),
        sa.ForeignKeyConstraint(["episode"], ["episode.id"], name=op.f("fk_snapshot_episode_episode")),
        sa.PrimaryKeyConstraint("snapshot", "episode", name=op.f("pk_snapshot_episode")),
    )
    op.create_index(op.f("ix_snapshot_episode_episode"), "snapshot_episode", ["episode"])


def _create_standing() -> None:
    op.create_table(
        "standing",
        sa.Column("episode", sa.Uuid(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("named", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.Column("quarantined", sa.Boolean(), nullable=False),
        sa.Column("purged", sa.Boolean(), nullable=False),
        sa.Column("start", sa.Double(), nullable=True),
        sa.Column("end", sa.Double(), nullable=True),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("started", Moment(), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("policy", sa.Uuid(), nullable=True),
        sa.Column("kit", sa.String(), nullable=False, server_default=""),
        sa.ForeignKeyConstraint(["episode"], ["episode.id"], name=op.f("fk_standing_episode")),
        sa.ForeignKeyConstraint(["task"], ["task.name"], name=op.f("fk_standing_task")),
        sa.ForeignKeyConstraint(["named"], ["task.name"], name=op.f("fk_standing_named")),
        sa.PrimaryKeyConstraint("episode", name=op.f("pk_standing")),
    )
    op.create_index(op.f("ix_standing_named"), "standing", ["named"])
    narrowed = [
        *("retired", "purged", "quarantined", "task", "outcome"),
        *("agent", "operator", "station", "policy", "kit"),
    ]
    op.create_index(op.f("ix_standing_listing"), "standing", ["started", "episode", *narrowed])


def _carry_up() -> None:
    """Let every episode stand as its last verdict left it, name the operators, and link the snapshots."""
    connection = op.get_bind()
    tables = sa.MetaData()
    names = ["episode", "verdict", "snapshot", "standing", "operator", "snapshot_episode"]
    episode, verdict, snapshot, standing, operator, member = (
        sa.Table(name, tables, autoload_with=connection, resolve_fks=False) for name in names
    )
    last = sa.select(sa.func.max(verdict.c.id)).group_by(verdict.c.episode)
    no = sa.literal(False, sa.Boolean())
    connection.execute(
        standing.insert().from_select(
            [
                *("episode", "task", "named", "outcome", "failure", "retired", "quarantined", "purged"),
                *("path", "digest", "started", "agent", "operator", "station", "policy"),
            ],
            sa.select(
                *(episode.c.id, episode.c.task, episode.c.task, verdict.c.outcome, verdict.c.failure, no, no, no),
                *(episode.c.path, episode.c.digest, episode.c.started),
                *(episode.c.agent, episode.c.operator, episode.c.station, episode.c.policy),
            ).join_from(episode, verdict, (verdict.c.episode == episode.c.id) & verdict.c.id.in_(last), isouter=True),
        )
    )
    connection.execute(
        operator.insert().from_select(
            ["name", "since"],
            sa.select(episode.c.operator, sa.func.min(episode.c.started))
            .where(episode.c.operator != "")
            .group_by(episode.c.operator),
        )
    )
    _link_snapshots(connection, snapshot, member, episode)


def _link_snapshots(connection: sa.Connection, snapshot: sa.Table, member: sa.Table, episode: sa.Table) -> None:
    """Ids are compared as text: SQLite keeps them so, and lists name them so."""
    known = {str(key).replace("-", ""): key for key in connection.scalars(sa.select(episode.c.id))}
    for name, entries in connection.execute(sa.select(snapshot.c.id, snapshot.c.episodes)).all():
        held = {known[key] for entry in entries if (key := str(entry[0]).replace("-", "")) in known}
        if held:
            connection.execute(member.insert(), [{"snapshot": name, "episode": key} for key in held])
