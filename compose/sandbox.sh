#!/bin/sh
# Process 1 of a sandbox: offers itself to a runner, and gives each lease an executor that is confined to its workspace.
# Which paths it may open is said here for the image as services/agent-runner/sandbox/start.ts says it for bubblewrap.
set -eu
exec toka-confine --init /data/sandboxes --wipe /workspace --wipe /tmp --wipe /homes --wipe /dev/shm -- \
  toka-confine \
  --rw /workspace --rw /tmp --rw /homes --rw /dev/shm --rw /dev/null --rw /dev/zero --rw /dev/full --rw /dev/tty --rw /dev/pts --rw /dev/ptmx \
  --ro /usr --ro /bin --ro /sbin --ro /lib --ro /lib64 --ro /etc --ro /opt --ro /proc --ro /sys --ro /dev/random --ro /dev/urandom \
  --ro /app/services --ro /app/shared --ro /app/node_modules --ro /app/package.json -- \
  node --disable-warning=ExperimentalWarning services/agent-runner/sandbox/executor.ts /workspace /tmp /homes /usr/local/bin/toka-confine
