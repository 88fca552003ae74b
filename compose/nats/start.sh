#!/bin/sh
# Starts nats-server with the users that check-settings has written; no password stands in an argument or in the environment. Starts it again
# when its disk is full, such that it takes nothing new and says so, and when there is room again: as npm start does (shared/dev/launch/room.ts).
set -eu
umask 077
# Earlier versions kept the streams in the account that a server has by itself. A cluster's nodes know theirs by name: see the README.
former='/data/nats/jetstream/$G'
if [ -z "${NODES:-}" ] && [ -d "$former" ] && [ ! -e /data/nats/jetstream/TOKA ]; then mv "$former" /data/nats/jetstream/TOKA; fi
password=$(sed 's/[\\"]/\\&/g' /data/nats-auth/password)
# In a URL only letters and digits stand for themselves.
routed=$(od -An -v -tx1 < /data/nats-auth/password | tr -d '\n' | sed 's/ /%/g')
{
  printf 'server_name: "%s"\n' "${SERVER_NAME:-nats}"
  # Paths of an include are relative to this file's folder.
  printf 'include "../data/nats-auth/users.conf"\n'
  printf 'include "../etc/toka/nats.conf"\n'
  [ ! -e /certs/nats.key ] || printf 'include "../etc/toka/tls.conf"\n'
  if [ -n "${NODES:-}" ]; then
    printf 'cluster {\n  name: toka\n  port: 6222\n  authorization { user: node, password: "%s", timeout: 5 }\n  routes: [' "$password"
    for node in $NODES; do printf '\n    "nats-route://node:%s@%s:6222"' "$routed" "$node"; done
    printf '\n  ]\n}\nclient_advertise: "%s:4222"\n' "$SERVER_NAME"
  fi
} > /tmp/nats-ok.conf
# What it holds is more, so each publish is refused, at once and with the reason.
sed 's/max_file_store: .*/max_file_store: 1/' /etc/toka/nats.conf > /tmp/refusing.conf
sed 's|"../etc/toka/nats.conf"|"refusing.conf"|' /tmp/nats-ok.conf > /tmp/nats-full.conf

say() { echo "start.sh: $1" >&2; }

# As shared/disk.ts has it: full with less than 64 MiB left, and ok again with 96.
look() {
  free=$(df -Pk /data/nats | awk 'NR == 2 { print int($4 / 1024) }')
  if [ "$free" -lt 64 ]; then room=full; elif [ "$free" -ge 96 ]; then room=ok; fi
}

# A cluster's node goes on taking what the others take, until a write of it fails.
refuses() { [ "$room" = full ] && [ -z "${NODES:-}" ]; }

begin() {
  [ -z "$over" ] || return 0
  if refuses; then mode=full; else mode=ok; fi
  nats-server --config "/tmp/nats-$mode.conf" &
  pid=$!
  was_well='' ill=0
}

# One that hangs in a write that failed does not end by itself (2.9.10).
end() {
  kill "$pid" 2> /dev/null || :
  (sleep 3 && kill -9 "$pid") > /dev/null 2>&1 &
  killer=$!
  while kill -0 "$pid" 2> /dev/null; do wait "$pid" || :; done
  kill "$killer" 2> /dev/null || :
}

answers() { timeout 5 wget -qO /dev/null "http://127.0.0.1:8222/$1" 2> /dev/null; }

# After a write that failed, 2.15 says 503 until it is started again; 2.9 says 200, and hangs where its streams are asked for. A disk that
# was full for a moment may have gone unseen. One that has not been well yet may be reading a large log; a cluster's node says 503, too, while
# it catches up with the others: both are left alone.
check() {
  if answers healthz && answers jsz; then was_well=1 ill=0; elif [ "$was_well" ]; then ill=$((ill + 1)); fi
  [ -z "${NODES:-}" ] && [ "$ill" -ge "$patience" ] || return 0
  say "nats-server has not been well for $((ill * 5)) seconds, as after a write that failed, and its disk has $free MiB free: it is started again"
  # What does not help is tried less and less often.
  [ "$patience" -ge 100 ] || patience=$((patience * 2))
  end
  begin
}

over='' pid='' room=ok patience=3 turn=0
look
[ "$room" = ok ] || say "the disk under /data/nats is full: $free MiB are left"
begin
trap 'over=1; kill "$pid" 2> /dev/null || :' TERM INT
while :; do
  # Ended, by a signal or by itself: so does the container, which Docker starts again where that was not wanted.
  kill -0 "$pid" 2> /dev/null || { [ "$over" ] || wait "$pid"; exit; }
  before=$room
  look
  if [ "$room" != "$before" ]; then
    if [ "$room" = ok ]; then
      say "the disk under /data/nats has $free MiB free: nats-server is started again, and work goes on"
    elif refuses; then
      say "the disk under /data/nats is full: $free MiB are left; nats-server is started again, and takes nothing new until 96 are free"
    else
      say "the disk under /data/nats is full: $free MiB are left; nats-server goes on until a write fails"
    fi
    [ "$room" = full ] && ! refuses || { end && begin; }
  elif [ "$room" = ok ] && { turn=$((turn + 1)) && [ "$turn" -ge 5 ] || [ -z "$was_well" ]; }; then
    turn=0
    check
  fi
  sleep 1 &
  wait $! || :
done
