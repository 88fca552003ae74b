#!/usr/bin/env bash
# What surprised: a publish with Nats-Msg-Id and Nats-Expected-Last-Subject-Sequence that is repeated, because its acknowledgement was lost,
# is answered "duplicate" by nats-server 2.9.10 and "wrong last sequence" (10071) by 2.15.1 without a cluster: since 2.12.0 the sequence is
# compared before the id is looked for. The refused message is the one that was taken, so a client that believes the refusal has lost its
# own write. Whoever repeats has to ask for the first message behind the expected one, and compare its id.
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
  await jsm.streams.add({ name: 'S', subjects: ['a.>'] });
  const put = () =>
    nc.jetstream().publish('a.x', 'one', { msgID: 'id-1', expect: { lastSubjectSequence: 0 } }).then(
      ({ duplicate }) => (duplicate ? 'duplicate' : 'taken'),
      (e) => `refused ${e.api_error.err_code}`,
    );
  console.log(`${await put()}, ${await put()}, ${(await jsm.streams.info('S')).state.messages} message`);
  await nc.close();
})();
JS
try() { # try FOLDER PORT
  "$1/root/usr/sbin/nats-server" -a 127.0.0.1 -p "$2" -js -sd "$work/$1/data" >/dev/null 2>&1 &
  node try.cjs "$2"; kill $!; wait $! 2>/dev/null || true
}
[ "$(try old 14873)" = 'taken, duplicate, 1 message' ] && [ "$(try new 14874)" = 'taken, refused 10071, 1 message' ] && echo 'as described'
