#!/bin/bash
# Slurm: an array of jobs that work on one study. `sbatch examples/sbatch.sh`, after the study was started once (docs/shared-studies.md).
#SBATCH --job-name=fastrcaps
#SBATCH --array=1-16%8           # 16 jobs, 8 at a time; a job that ends or is cancelled leaves its run to the others
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=08:00:00
#SBATCH --signal=B:INT@120       # two minutes before its time is over, a job leaves as with Ctrl-C
set -euo pipefail

# The password is in this file, one line HOST:PORT:NAME:USER:PASSWORD that only you may read (chmod 600).
export PGPASSFILE="$HOME/.pgpass"

# Checkpoints lie where every node reaches them, so that a run goes on where another job has left it.
RUNS="${SCRATCH:-$HOME}/fastrcaps-runs"

# In the background and waited for, so that the signal reaches it.
fastrcaps-dse explore --join wide --storage postgresql://me@database.example.org/studies \
  --data-dir "$HOME/data" --runs "$RUNS" --workers 1 &
trap 'kill -INT $!' INT
wait $! || wait $!
