#!/usr/bin/env bash
# Makes an authority of your own, and certificates of it for the gateway, NATS and Redis, for compose/tls.yaml:
#   compose/certificates.sh [NAME-OF-THE-HOST ...]       run again to renew; the authority stays
# Clients trust certificates/ca.crt. Keep certificates/ca.key somewhere else once they are made.
set -euo pipefail
folder=${CERTIFICATES_DIR:-certificates}
days=${CERTIFICATE_DAYS:-365}
mkdir -p "$folder"
cd "$folder"
umask 077

if [ ! -e ca.key ]; then
  openssl req -x509 -newkey rsa:3072 -nodes -keyout ca.key -out ca.crt -days 3650 -subj '/CN=Toka authority' \
    -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' 2>/dev/null
  echo "made an authority: $folder/ca.crt"
fi

certificate() { # NAME OWNER SAN...
  local name=$1 owner=$2 alternatives
  shift 2
  alternatives=$(printf ',DNS:%s' "$@")
  openssl req -newkey rsa:2048 -nodes -keyout "$name.key.new" -out "$name.csr" -subj "/CN=$name" 2>/dev/null
  openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days "$days" -out "$name.crt.new" \
    -extfile <(printf 'subjectAltName=%s,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' "${alternatives#,}") 2>/dev/null
  # The containers' users read the keys. Who is not root cannot give them away, and lets everyone on this machine read them.
  if ! chown "$owner" "$name.key.new" 2>/dev/null; then
    chmod 644 "$name.key.new"
    echo "$folder/$name.key can be read by every user of this machine: run this as root, or chown $owner it" >&2
  fi
  mv "$name.key.new" "$name.key"
  mv "$name.crt.new" "$name.crt"
  rm "$name.csr"
  chmod 644 "$name.crt"
  echo "made $folder/$name.crt, good for $days days"
}
certificate gateway 10001 localhost gateway "$@"
certificate nats 10001 localhost nats nats-2 nats-3
certificate redis 999 localhost redis
chmod 644 ca.crt
chmod 755 .
