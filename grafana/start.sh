#!/bin/sh
# Starts Grafana with GRAFANA_PASSWORD, or with what the secret's file holds.
set -eu
[ -n "${GF_SECURITY_ADMIN_PASSWORD:-}" ] || GF_SECURITY_ADMIN_PASSWORD=$(cat /run/secrets/GRAFANA_PASSWORD)
export GF_SECURITY_ADMIN_PASSWORD
exec /run.sh
