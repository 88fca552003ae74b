#!/bin/sh
# Starts redis-server with REDIS_PASSWORD, or with what the secret's file holds; neither becomes an argument.
set -eu
umask 077
password=${REDIS_PASSWORD:-$(cat /run/secrets/REDIS_PASSWORD)}
unset REDIS_PASSWORD
{
  printf 'include /etc/toka/redis.conf\n'
  [ ! -e /certs/redis.key ] || printf 'include /etc/toka/tls.conf\n'
  printf 'requirepass "%s"\n' "$(printf %s "$password" | sed 's/[\\"]/\\&/g')"
} > /tmp/redis.conf
exec redis-server /tmp/redis.conf
