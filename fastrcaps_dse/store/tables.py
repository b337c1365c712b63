"""The tables, in the database of Optuna's storage, under the prefix `fastrcaps_`."""

from __future__ import annotations

import sqlalchemy as sa

SCHEMA_VERSION = 10

metadata = sa.MetaData()
# Optuna's table, as far as we refer to it; Optuna creates it.
studies = sa.Table("studies", metadata, sa.Column("study_id", sa.Integer, primary_key=True), sa.Column("study_name", sa.String))
schema = sa.Table("fastrcaps_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))
study = sa.Table(
    "fastrcaps_study",
    metadata,
    sa.Column("study_id", sa.ForeignKey("studies.study_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("identity", sa.JSON, nullable=False),
    sa.Column("spec_text", sa.Text, nullable=False),
    sa.Column("target_trials", sa.Integer, nullable=False),
    sa.Column("dataset_fingerprint", sa.String(32), nullable=False),
    sa.Column("image_shape", sa.JSON, nullable=False),
    sa.Column("classes", sa.JSON),  # their names by label; NULL in a study of schema 5 that was not continued since
    sa.Column("pixel_scaling", sa.Text),  # how stored values become inputs of the network; likewise
    sa.Column("train_images", sa.Integer, nullable=False),
    sa.Column("selection", sa.JSON),  # images that select an epoch, and those of their most frequent class
    sa.Column("created", sa.Float, nullable=False),  # s since 1970
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),  # counts the changes of its runs' states
    sa.Column("deadline", sa.Float),  # s since 1970 by the database's clock, when the budget of all its processes ends
    sa.Column("reference", sa.JSON),  # device, precision and software whose step times count
    sa.Column("runs_place", sa.Text),  # the folder or URL of its runs' files, where the user has named one
    sa.Column("outlook", sa.JSON),  # text, gain, trials: what another hour was expected to give after so many trials
    sa.Column("mirrored_until", sa.Float),  # while a process writes Optuna's trials: when its right to do so ends
)
run = sa.Table(
    "fastrcaps_run",
    metadata,
    sa.Column("run_id", sa.Integer, primary_key=True),
    sa.Column("study_id", sa.ForeignKey("fastrcaps_study.study_id", ondelete="CASCADE"), nullable=False),
    sa.Column("trial", sa.Integer, nullable=False),  # counted from 0; Optuna's number is the same
    sa.Column("design_key", sa.String(512), nullable=False),
    sa.Column("design", sa.JSON, nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # running, done, failed
    sa.Column("reason", sa.Text),
    sa.Column("device", sa.String(200)),
    sa.Column("precision", sa.String(16)),
    sa.Column("software", sa.String(200)),
    sa.Column("algorithms", sa.JSON),  # of the convolution, by batch size; those of all others are the default ones
    sa.Column("params", sa.Integer),
    sa.Column("acc", sa.Float),  # %
    sa.Column("time", sa.Float),  # s, as the study counts it
    sa.Column("wall_time", sa.Float),  # s, as a clock told it
    sa.Column("others", sa.JSON),  # values of the other objectives, by name
    sa.Column("test_acc", sa.Float),  # %
    sa.Column("test_robust", sa.Float),  # %, on affine copies of the test images, where the study measures that
    sa.Column("selected_epoch", sa.Integer),
    sa.Column("pruned_after", sa.Integer),  # epochs, where the run was pruned
    sa.Column(
        "weights", sa.String(1024)
    ),  # relative to the folder of all runs; of earlier versions, to where they were trained
    sa.Column("owner", sa.String(200)),
    sa.Column("heartbeat", sa.Float),  # s since 1970
    sa.Column("started", sa.Float, nullable=False),  # s since 1970
    sa.Column("ended", sa.Float),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),  # only the process of this attempt may write
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),  # of the study, when the state last changed
    sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),  # of its processes since the last epoch
    sa.Column("time_estimated", sa.Integer, nullable=False, server_default="0"),  # 1: step times of the reference are lacking
    sa.UniqueConstraint("study_id", "design_key", "seed", name="fastrcaps_run_once"),
    sa.Index("fastrcaps_run_trial", "study_id", "trial"),
    sa.Index("fastrcaps_run_revision", "study_id", "revision"),
)
epoch = sa.Table(
    "fastrcaps_epoch",
    metadata,
    sa.Column("run_id", sa.ForeignKey("fastrcaps_run.run_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),  # counted from 1
    sa.Column("batch_size", sa.Integer, nullable=False),
    sa.Column("steps", sa.Integer, nullable=False),
    sa.Column("lr_first", sa.Float, nullable=False),
    sa.Column("lr_last", sa.Float, nullable=False),
    sa.Column("margin_loss", sa.Float, nullable=False),
    sa.Column("reconstruction_loss", sa.Float, nullable=False),
    sa.Column("acc", sa.Float, nullable=False),  # %
    sa.Column("warm_up_seconds", sa.Float, nullable=False),
    sa.Column("train_seconds", sa.Float, nullable=False),
    sa.Column("eval_seconds", sa.Float, nullable=False),
    sa.Column("counted_seconds", sa.Float, nullable=False),  # what the epoch adds to the time objective
    sa.Column("test_acc", sa.Float),  # %, where the test set is evaluated after each epoch
)
step_time = sa.Table(
    "fastrcaps_step_time",
    metadata,
    sa.Column("key", sa.String(300), primary_key=True),  # network variant, images, batch size, precision
    sa.Column("device", sa.String(200), primary_key=True),
    sa.Column("software", sa.String(200), primary_key=True),
    sa.Column("seconds", sa.Float, nullable=False),  # of a step: the median of n
    sa.Column("spread", sa.Float, nullable=False),  # of them: interquartile range by the median
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("measured", sa.Float, nullable=False),  # s since 1970
)
algorithm_choice = sa.Table(
    "fastrcaps_algorithm_choice",
    metadata,
    sa.Column("images", sa.String(60), primary_key=True),  # channels x height x width
    sa.Column("batch_size", sa.Integer, primary_key=True),
    sa.Column("precision", sa.String(16), primary_key=True),
    sa.Column("device", sa.String(200), primary_key=True),
    sa.Column("software", sa.String(200), primary_key=True),
    sa.Column("algorithm", sa.String(16), nullable=False),
    sa.Column("seconds", sa.JSON, nullable=False),  # of each algorithm that was timed, forward and backward
    sa.Column("measured", sa.Float, nullable=False),  # s since 1970
)
note = sa.Table(
    "fastrcaps_note",
    metadata,
    sa.Column("study_id", sa.ForeignKey("fastrcaps_study.study_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("trial", sa.Integer, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("starred", sa.Integer, nullable=False),  # 1 or 0
    sa.Column("changed", sa.Float, nullable=False),  # s since 1970
)
OURS = [schema, study, run, epoch, step_time, algorithm_choice, note]
