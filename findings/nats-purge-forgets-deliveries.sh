#!/usr/bin/env bash
# What surprised: STREAM.PURGE with a sequence removes what lies before it. With nats-server 2.9.10 a consumer of that stream also forgets
# what it has delivered from there on and what was not acknowledged: num_ack_pending falls to 0, and such a message, which is still there, is
# never delivered again. 2.15.1 keeps it in mind. Whoever has to remove the oldest messages of a work queue deletes them one by one.
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
const { AckPolicy, connect } = require('nats');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
(async () => {
  const nc = await connect({ servers: `127.0.0.1:${process.argv[2]}`, waitOnFirstConnect: true });
  const jsm = await nc.jetstreamManager();
  await jsm.streams.add({ name: 'WORK', subjects: ['work.>'], retention: 'workqueue' });
  await jsm.consumers.add('WORK', { durable_name: 'workers', ack_policy: AckPolicy.Explicit, ack_wait: 500e6 });
  for (let at = 1; at <= 3; at++) await nc.jetstream().publish(`work.${at}`);
  const came = [];
  const take = (msg) => {
    if (!msg.reply?.startsWith('$JS.ACK')) return;
    came.push(msg.subject);
    if (msg.subject !== 'work.3') msg.respond('+ACK');
  };
  nc.subscribe('tasks', { callback: (_, msg) => take(msg) });
  const next = () => nc.publish('$JS.API.CONSUMER.MSG.NEXT.WORK.workers', JSON.stringify({ batch: 3, expires: 1e9 }), { reply: 'tasks' });
  next();
  while (came.length < 3) await sleep(20);
  await nc.flush();
  await jsm.streams.purge('WORK', { seq: 3 });
  for (let turn = 0; turn < 3; turn++) {
    next();
    await sleep(1_100);
  }
  const { state } = await jsm.streams.info('WORK');
  console.log(`${state.messages} message, ${came.length > 3 ? 'which came again' : 'which never came again'}`);
  await nc.close();
})();
JS
try() { # try FOLDER PORT
  "$1/root/usr/sbin/nats-server" -a 127.0.0.1 -p "$2" -js -sd "$work/$1/data" >/dev/null 2>&1 &
  node try.cjs "$2"; kill $!; wait $! 2>/dev/null || true
}
[ "$(try old 14877)" = '1 message, which never came again' ] && [ "$(try new 14878)" = '1 message, which came again' ] && echo 'as described'
