"""What takes the tables of earlier versions to this one."""

from __future__ import annotations

import sqlalchemy as sa

from fastrcaps_dse.store import tables

STATEMENTS = {
    2: ["ALTER TABLE fastrcaps_epoch ADD COLUMN warm_up_seconds FLOAT NOT NULL DEFAULT 0"],
    3: [
        "ALTER TABLE fastrcaps_run ADD COLUMN wall_time FLOAT",
        "ALTER TABLE fastrcaps_run ADD COLUMN others JSON",
        "UPDATE fastrcaps_run SET wall_time = time",
        "ALTER TABLE fastrcaps_run ADD COLUMN stopped_after INTEGER",
        "ALTER TABLE fastrcaps_epoch ADD COLUMN counted_seconds FLOAT NOT NULL DEFAULT 0",
        "UPDATE fastrcaps_epoch SET counted_seconds = train_seconds",
    ],
    4: ["ALTER TABLE fastrcaps_run RENAME COLUMN stopped_after TO pruned_after"],
    5: [
        "ALTER TABLE fastrcaps_run ADD COLUMN algorithms JSON",
        "UPDATE fastrcaps_run SET algorithms = '{}'",  # their runs go on with the default algorithms
    ],
    6: [
        "ALTER TABLE fastrcaps_study ADD COLUMN selection JSON",
        "ALTER TABLE fastrcaps_study ADD COLUMN classes JSON",
        "ALTER TABLE fastrcaps_study ADD COLUMN pixel_scaling TEXT",
    ],
    7: [],  # the table of notes is new, and made with all others
    8: [
        "ALTER TABLE fastrcaps_study ADD COLUMN revision INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE fastrcaps_study ADD COLUMN deadline DOUBLE PRECISION",
        "ALTER TABLE fastrcaps_study ADD COLUMN reference JSON",
        "ALTER TABLE fastrcaps_study ADD COLUMN runs_place TEXT",
        "ALTER TABLE fastrcaps_study ADD COLUMN mirrored_until DOUBLE PRECISION",
        "ALTER TABLE fastrcaps_run ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE fastrcaps_run ADD COLUMN revision INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE fastrcaps_run ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE fastrcaps_run ADD COLUMN time_estimated INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX IF NOT EXISTS fastrcaps_run_revision ON fastrcaps_run (study_id, revision)",
    ],
    9: ["ALTER TABLE fastrcaps_study ADD COLUMN outlook JSON"],
    10: [
        "ALTER TABLE fastrcaps_epoch ADD COLUMN test_acc DOUBLE PRECISION",
        "ALTER TABLE fastrcaps_run ADD COLUMN test_robust DOUBLE PRECISION",
    ],
}
"""What takes the tables of the version before to each version."""


def migrate(connection: sa.Connection, version: int) -> None:
    """Bring tables of an earlier version up to date."""
    tables.metadata.create_all(connection, tables=tables.OURS)
    for to in range(version + 1, tables.SCHEMA_VERSION + 1):
        for statement in STATEMENTS[to]:
            connection.execute(sa.text(statement))
    if version < 4:
        _rename_in_identities(connection)
    connection.execute(tables.schema.insert().values(version=tables.SCHEMA_VERSION))


def _rename_in_identities(connection: sa.Connection) -> None:
    """Bring the stored identities of studies to the words of schema 4: `pruning` was called `stopping`; before that, neither it nor
    `time` could be chosen.
    """
    for row in connection.execute(sa.select(tables.study.c.study_id, tables.study.c.identity)).all():
        old = dict(row.identity)
        identity = {"time": "measured", **old, "pruning": old.pop("stopping", "off")} if "sampler" in old else old
        identity.pop("stopping", None)
        connection.execute(tables.study.update().where(tables.study.c.study_id == row.study_id).values(identity=identity))
