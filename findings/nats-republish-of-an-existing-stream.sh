#!/usr/bin/env bash
# What surprised: a stream that tells of its messages (`republish`, known since nats-server 2.8.3) can be made with Debian's nats-server
# 2.9.10, but an existing stream cannot be changed so: "stream configuration update can not change RePublish" (10052). 2.15.1 takes the
# same change. So whoever adds it in an upgrade has to make the stream anew on older servers.
# Seen on Debian 12 with nats 2.29.3 (npm), nats-server 2.9.10 (bookworm) and 2.15.1 (sid), 2026-11-29. Needs Node, npm and apt.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
fetch() { # fetch FOLDER SUITE VERSION: unpacks that nats-server with package lists of its own
  mkdir -p "$1/lists/partial" "$1/archives/partial"; : >"$1/status"
  local mirror; mirror=$(apt-cache policy | grep -oE 'https?://[^ ]+/debian/?' | grep -v security | head -n 1)
  echo "deb ${mirror:?no mirror of Debian is known here} $2 main" >"$1/sources.list"
  local o=(-qq -o "Dir::Etc::sourcelist=$work/$1/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State=$work/$1"
    -o "Dir::State::lists=$work/$1/lists" -o "Dir::State::status=$work/$1/status" -o "Dir::Cache=$work/$1" -o APT::Sandbox::User=root)
  apt-get "${o[@]}" update
  (cd "$1" && apt-get "${o[@]}" download nats-server && dpkg -x nats-server_*.deb root)
  "$1/root/usr/sbin/nats-server" --version | grep -F "v$3"
}
fetch old bookworm 2.9.10
fetch new sid 2.15.1
npm install --silent --no-audit --no-fund nats@2.29.3
cat >try.cjs <<'JS'
const { connect } = require('nats');
(async () => {
  const nc = await connect({ servers: `127.0.0.1:${process.argv[2]}`, waitOnFirstConnect: true });
  const jsm = await nc.jetstreamManager();
  const republish = { src: 'a.>', dest: 'b.>' };
  const made = await jsm.streams.add({ name: 'MADE', subjects: ['a.>'], republish });
  await jsm.streams.delete('MADE');
  await jsm.streams.add({ name: 'CHANGED', subjects: ['a.>'] });
  const changed = await jsm.streams.update('CHANGED', { republish }).then(() => 'changed', (e) => `refused ${e.api_error.err_code}`);
  console.log(`${made.config.republish ? 'made' : 'dropped'}, ${changed}`);
  await nc.close();
})();
JS
try() { # try FOLDER PORT
  "$1/root/usr/sbin/nats-server" -a 127.0.0.1 -p "$2" -js -sd "$work/$1/data" >/dev/null 2>&1 &
  node try.cjs "$2"; kill $!; wait $! 2>/dev/null || true
}
[ "$(try old 14871)" = 'made, refused 10052' ] && [ "$(try new 14872)" = 'made, changed' ] && echo 'as described'
