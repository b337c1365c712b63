"""What the process imports from which `benchmarks.soak` forks: all that a command needs."""

import fastrcaps_dse.cli.exploring
import fastrcaps_dse.cli.running
import fastrcaps_dse.runs.executors
import fastrcaps_dse.session.exploring  # noqa: F401
