import Sqlite from 'better-sqlite3';
import { AckPolicy, connect } from 'nats';

// The bare loop's second half: consume, commit what has come, acknowledge. Nothing else.

const [url = '', file = ''] = process.argv.slice(2);
const db = new Sqlite(file);
db.pragma('page_size = 16384');
db.pragma('journal_mode = WAL');
db.pragma('synchronous = FULL');
db.exec('CREATE TABLE events (seq INTEGER PRIMARY KEY, subject TEXT NOT NULL, bytes BLOB NOT NULL)');
const insert = db.prepare('INSERT INTO events VALUES (?, ?, ?)');
const nc = await connect({ servers: url });
const jsm = await nc.jetstreamManager();
await jsm.consumers.add('BARE', { durable_name: 'bare', ack_policy: AckPolicy.All, max_ack_pending: 20_000 });
const consumer = await nc.jetstream().consumers.get('BARE', 'bare');
let queue: { seq: number; subject: string; data: Uint8Array; ack(): void }[] = [];
const commit = db.transaction(() => {
  for (const { seq, subject, data } of queue) insert.run(seq, subject, data);
});
let waiting = false;
await consumer.consume({
  max_messages: 4_000,
  callback(msg) {
    queue.push(msg);
    if (waiting) return;
    waiting = true;
    setImmediate(() => {
      waiting = false;
      commit();
      queue.at(-1)?.ack();
      queue = [];
    });
  },
});
process.send?.('ready');
process.once('disconnect', () => process.exit());
