#!/usr/bin/env bash
# What surprised: a work queue removes a message once it is acknowledged. After kill -9, nats-server 2.9.10 has messages again that were
# delivered once and acknowledged before: nothing is pending, and in most cases they lie at or below the consumer's ack floor, so they are never
# delivered and never removed. With 2.9.10 some were left after 29 of 30 crashes (they add up, to hundreds), with 2.15.1 none after 30. Whoever counts what
# is on such a queue takes finished work for work. An admin may delete what lies up to the ack floor, one by
# one (nats-purge-forgets-deliveries.sh).
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
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { AckPolicy, connect } = require('nats');
const [, , program, port, data] = process.argv;
const start = () => spawn(program, ['-a', '127.0.0.1', '-p', port, '-js', '-sd', data], { stdio: 'ignore' });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const again = async (work) => {
  for (;;) try { return await work(); } catch { await sleep(100); }
};
(async () => {
  let server = start();
  const nc = await connect({ servers: `127.0.0.1:${port}`, waitOnFirstConnect: true, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  const jsm = await again(() => nc.jetstreamManager());
  await jsm.streams.add({ name: 'WORK', subjects: ['work.>'], retention: 'workqueue' });
  await jsm.consumers.add('WORK', { durable_name: 'workers', ack_policy: AckPolicy.Explicit, ack_wait: 1e9 });
  const next = (batch) => nc.publish('$JS.API.CONSUMER.MSG.NEXT.WORK.workers', JSON.stringify({ batch, expires: 1e9 }), { reply: 'tasks' });
  let delivered = 0;
  const take = (msg) => {
    if (!msg.reply?.startsWith('$JS.ACK')) return;
    delivered += 1;
    setTimeout(() => msg.respond('+ACK'), Math.random() * 200);
  };
  nc.subscribe('tasks', { callback: (_, msg) => take(msg) });
  let left = 0;
  // With 2.9.10 about half of the crashes leave some.
  for (let crash = 1; crash <= 10 && left === 0; crash++) {
    const endMs = Date.now() + 1_500;
    for (let at = 0; Date.now() < endMs; at++) {
      nc.publish(`work.${crash}.${at}`);
      if (at % 100 === 0) next(200);
      await sleep(3);
    }
    server.kill('SIGKILL');
    await once(server, 'exit');
    server = start();
    await again(() => jsm.consumers.info('WORK', 'workers'));
    // Until nothing is delivered any more, three ack waits long.
    for (let quiet = 0; quiet < 3; ) {
      const before = delivered;
      next(200);
      await sleep(1_100);
      quiet = delivered === before ? quiet + 1 : 0;
    }
    const { num_pending, ack_floor } = await jsm.consumers.info('WORK', 'workers');
    const { state } = await jsm.streams.info('WORK');
    console.error(`${state.messages} messages from ${state.first_seq} to ${state.last_seq}, ack floor ${ack_floor.stream_seq}, pending ${num_pending}`);
    if (state.messages > 0 && num_pending === 0) left = state.messages;
  }
  console.log(left > 0 ? 'some are left' : 'none is left');
  server.kill();
  await nc.close();
})();
JS
try() { node try.cjs "$work/$1/root/usr/sbin/nats-server" "$2" "$work/$1/data"; } # try FOLDER PORT
[ "$(try old 14875)" = 'some are left' ] && [ "$(try new 14876)" = 'none is left' ] && echo 'as described'
