"""Every kind of background job, and the queue that it waits in."""

QUEUES = {
    "train": "learn",
    "trials": "twin",
    "label": "twin",
    "verify": "chores",
    "backup": "chores",
    "restore-check": "chores",
    "keep": "chores",
    "share": "chores",
    "night": "night",
    "night.begin": "chores",
    "night.verify": "chores",
    "night.grade": "chores",
    "night.snapshot": "chores",
    "night.train": "learn",
    "night.proof": "chores",
    "night.gates": "learn",
    "night.plan": "chores",
    "night.trials": "twin",
    "night.decide": "chores",
    "night.promote": "chores",
    "night.orders": "chores",
    "night.end": "chores",
    "night.page": "chores",
}
"""The queue of every kind of job."""

YIELDING = ("learn", "twin")
"""Jobs of these queues make way for people at the same machine."""
