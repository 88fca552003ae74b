#!/bin/sh
# Starts nats-server with the password that check-settings has written, which stands in no argument and no environment.
set -eu
umask 077
password=$(sed 's/[\\"]/\\&/g' /data/nats-auth/password)
{
  printf 'server_name: "%s"\n' "${SERVER_NAME:-nats}"
  printf 'authorization { user: toka, password: "%s", timeout: 5 }\n' "$password"
  # Paths of an include are relative to this file's folder.
  for part in nats.conf "$@"; do printf 'include "../etc/toka/%s"\n' "$part"; done
} > /tmp/nats.conf
exec nats-server --config /tmp/nats.conf
