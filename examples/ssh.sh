#!/bin/bash
# ssh: the hosts of a list work on one study. `bash examples/ssh.sh host-1 host-2 ...`, after the study was started once.
# Each host has fastrcaps-dse, the data set, and a file ~/.pgpass (chmod 600) with the line HOST:PORT:NAME:USER:PASSWORD.
set -euo pipefail

STORAGE=postgresql://me@database.example.org/studies
STUDY=wide

for host in "$@"; do
  # In the background there, so that the connection may end. What a host says is in its fastrcaps.log.
  ssh "$host" "PGPASSFILE=~/.pgpass nohup fastrcaps-dse explore --join $STUDY --storage $STORAGE > fastrcaps.log 2>&1 < /dev/null &"
  echo "$host joins $STUDY"
done

# Follow it from here; `fastrcaps-dse view` shows the same in a browser.
fastrcaps-dse front --study "$STUDY" --storage "$STORAGE"
