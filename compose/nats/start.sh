#!/bin/sh
# Starts nats-server with the users that check-settings has written; no password stands in an argument or in the environment.
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
} > /tmp/nats.conf
exec nats-server --config /tmp/nats.conf
