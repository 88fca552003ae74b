#!/bin/sh
# Starts redis-server with REDIS_PASSWORD, or with what the secret's file holds; neither becomes an argument.
set -eu
umask 077
password=${REDIS_PASSWORD:-$(cat /run/secrets/REDIS_PASSWORD)}
unset REDIS_PASSWORD
{
  for part in redis.conf "$@"; do printf 'include /etc/toka/%s\n' "$part"; done
  printf 'requirepass "%s"\n' "$(printf %s "$password" | sed 's/[\\"]/\\&/g')"
} > /tmp/redis.conf
exec redis-server /tmp/redis.conf
