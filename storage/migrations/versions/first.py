"""The first tables, and the ways to fail that everybody starts with."""

import sqlalchemy as sa
from alembic import op

from storage.models import Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FAILURES = [
    ("SEM-OBJ", "wrong object", "S1", "The first grasp went for an object that was not asked for."),
    ("SEM-GOAL", "wrong goal", "S4", "The right object was brought to a place that was not asked for."),
    ("SEM-SEQ", "wrong or skipped step", "any", "Steps came in the wrong order, or one was left out or done twice."),
    ("SEM-IDLE", "no attempt", "S1", "Nothing was approached before time ran out, or the robot stopped on its way."),
    ("LOC", "localisation error", "S1/S4", "Right target, wrong place: it missed before contact, or delivered beside."),
    ("CON", "contact failure", "S2", "It touched the object but the grasp did not form, slipped, or knocked it away."),
    ("LIFT", "insufficient lift", "S2", "The grasp held, but the object was not raised high enough."),
    ("DROP", "lost in transport", "S3", "The object left the gripper after it was lifted and before it was delivered."),
    ("SIZE", "size adaptation", "S2/S4", "Opening, force or clearance did not suit an object of an unfamiliar size."),
    ("KIN", "kinematic inconsistency", "any", "A joint limit, singularity, collision, shaking, or arms out of step."),
    (
        "PREC",
        "delivery precision",
        "S4/S5",
        "The goal was reached roughly, but inserting, closing or sliding stayed undone.",
    ),
    ("TIME", "time-out after progress", "any", "Time ran out while everything was going right."),
    ("ENV", "invalid trial", "S0", "Set-up, sensor, controller or simulator was at fault; the trial does not count."),
]


def upgrade() -> None:
    """Create every table and name the known failures."""
    op.create_table(
        "task",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("instruction", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_task")),
    )
    op.create_table(
        "snapshot",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("episodes", sa.JSON(), nullable=False),
        sa.Column("query", sa.String(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["task.name"], name=op.f("fk_snapshot_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot")),
    )
    op.create_table(
        "policy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("preset", sa.String(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("snapshot", sa.String(), nullable=True),
        sa.Column("parent", sa.Uuid(), nullable=True),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["task.name"], name=op.f("fk_policy_task")),
        sa.ForeignKeyConstraint(["snapshot"], ["snapshot.id"], name=op.f("fk_policy_snapshot")),
        sa.ForeignKeyConstraint(["parent"], ["policy.id"], name=op.f("fk_policy_parent")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy")),
        sa.UniqueConstraint("name", name=op.f("uq_policy_name")),
    )
    op.create_index(op.f("ix_policy_created"), "policy", ["created"])
    op.create_table(
        "episode",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("started", Moment(), nullable=False),
        sa.Column("ended_by", sa.String(), nullable=False),
        sa.Column("policy", sa.Uuid(), nullable=True),
        sa.Column("condition", sa.JSON(), nullable=False),
        sa.Column("recovered", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["task.name"], name=op.f("fk_episode_task")),
        sa.ForeignKeyConstraint(["policy"], ["policy.id"], name=op.f("fk_episode_policy")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_episode")),
    )
    op.create_index(op.f("ix_episode_task"), "episode", ["task"])
    op.create_index(op.f("ix_episode_started"), "episode", ["started"])
    op.create_index(op.f("ix_episode_policy"), "episode", ["policy"])
    failures = op.create_table(
        "failure_mode",
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("meaning", sa.String(), nullable=False),
        sa.Column("taxonomy", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_failure_mode")),
    )
    op.create_table(
        "verdict",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("episode", sa.Uuid(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("stage", sa.String(), nullable=True),
        sa.Column("secondary", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("labelled_by", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("given", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["episode"], ["episode.id"], name=op.f("fk_verdict_episode")),
        sa.ForeignKeyConstraint(["failure"], ["failure_mode.code"], name=op.f("fk_verdict_failure")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdict")),
    )
    op.create_index(op.f("ix_verdict_episode"), "verdict", ["episode"])
    op.create_table(
        "batch",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("closed", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["task"], ["task.name"], name=op.f("fk_batch_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
    )
    op.create_index(op.f("ix_batch_task"), "batch", ["task"])
    op.create_table(
        "trial",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("batch", sa.String(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("policy", sa.Uuid(), nullable=False),
        sa.Column("condition", sa.JSON(), nullable=False),
        sa.Column("claimed_by", sa.String(), nullable=True),
        sa.Column("episode", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["batch"], ["batch.id"], name=op.f("fk_trial_batch")),
        sa.ForeignKeyConstraint(["task"], ["task.name"], name=op.f("fk_trial_task")),
        sa.ForeignKeyConstraint(["policy"], ["policy.id"], name=op.f("fk_trial_policy")),
        sa.ForeignKeyConstraint(["episode"], ["episode.id"], name=op.f("fk_trial_episode")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial")),
        sa.UniqueConstraint("batch", "turn", name=op.f("uq_trial_batch_turn")),
        sa.UniqueConstraint("episode", name=op.f("uq_trial_episode")),
    )
    op.create_index(op.f("ix_trial_policy"), "trial", ["policy"])
    op.bulk_insert(
        failures,
        [
            {"code": code, "name": name, "stage": stage, "meaning": meaning, "taxonomy": "failure-taxonomy/1.0"}
            for code, name, stage, meaning in FAILURES
        ],
    )


def downgrade() -> None:
    """Drop every table."""
    for table in ["trial", "batch", "verdict", "failure_mode", "episode", "policy", "snapshot", "task"]:
        op.drop_table(table)
