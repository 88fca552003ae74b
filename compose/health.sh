#!/usr/bin/env bash
# Asks a service whether it is ready. No curl, and no Node process every few seconds: bash speaks TCP by itself.
exec 3<>"/dev/tcp/127.0.0.1/${METRICS_PORT:-9464}" || exit 1
printf 'GET /health/ready HTTP/1.0\r\n\r\n' >&3
read -r _ status _ <&3
if [ "$status" = 200 ]; then exit 0; fi
while read -r line; do :; done <&3
echo "${line:-answered $status}"
exit 1
