import { loadBullmq } from './bullmq.ts';

// A worker that does nothing, as many at a time as it is told.

const [file = '', port = '', concurrency = ''] = process.argv.slice(2);
const { Worker } = await loadBullmq(file);
const connection = { host: '127.0.0.1', port: Number(port) };
const worker = new Worker('bench', async () => undefined, { connection, concurrency: Number(concurrency) });
await worker.waitUntilReady();
process.send?.('ready');
process.once('disconnect', () => process.exit());
