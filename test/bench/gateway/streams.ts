import type { IncomingMessage } from 'node:http';
import { Agent, get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '#shared/bus/bus.ts';
import { newEvent } from '#shared/event.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { atATime } from '../runner/batch.ts';
import { shareOf } from './requests.ts';

const writer = { source: '/toka/bench/1', actor: 'service:bench' };
const inFlight = 64;
const drainMsMax = 120_000;

export type FanOut = { paced: { p50: number; p99: number }; deliveredPerSecond: number };
export type Size = { clients: number; perSecond: number; paced: number; flatOut: number };

/** Events to many clients of `/events`: from before one is appended until each client has it, at a rate; and how many come through when all are appended at once. */
export async function measureFanOut(bus: Bus, url: string, token: string, size: Size): Promise<FanOut> {
  const agent = new Agent({ maxSockets: Number.POSITIVE_INFINITY });
  const sentMs: number[] = [];
  const tookMs: number[] = [];
  let received = 0;
  const heard = (numbers: readonly number[]) => {
    const nowMs = performance.now();
    received += numbers.length;
    for (const number of numbers) tookMs.push(nowMs - (sentMs[number] ?? Number.NaN));
  };
  const clients = await Promise.all(Array.from({ length: size.clients }, () => listen(agent, url, token, heard)));
  const send = async (number: number) => {
    sentMs[number] = performance.now();
    const data = { service: 'bench', instance: String(number), version: '1' };
    await bus.append(newEvent({ type: 'toka.system.started.v1', data }, 'system/bench', writer));
  };
  const all = (count: number) => eventually(() => received >= count * size.clients, drainMsMax);

  const startMs = performance.now();
  for (let number = 0; number < size.paced; number++) {
    await delay(Math.max(startMs + (number * 1_000) / size.perSecond - performance.now(), 0));
    void send(number);
  }
  await all(size.paced);
  const at = shareOf(tookMs);
  const paced = { p50: at(0.5), p99: at(0.99) };

  received = 0;
  const flatMs = performance.now();
  await atATime(inFlight, size.flatOut, (index) => send(size.paced + index));
  await all(size.flatOut);
  const seconds = (performance.now() - flatMs) / 1000;
  for (const client of clients) client.destroy();
  agent.destroy();
  return { paced, deliveredPerSecond: (size.flatOut * size.clients) / seconds };
}

/** One client: hears the numbers of the bench's events, each once and in order, or it fails. */
function listen(
  agent: Agent,
  url: string,
  token: string,
  heard: (numbers: readonly number[]) => void,
): Promise<IncomingMessage> {
  let rest = '';
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    get(`${url}/events?subject=system/bench`, { agent, headers }, (response) => {
      if (response.statusCode !== 200) return reject(new Error(`a stream was answered with ${response.statusCode}`));
      response.setEncoding('latin1');
      response.on('error', () => undefined);
      response.on('data', (chunk: string) => {
        const blocks = (rest + chunk).split('\n\n');
        rest = blocks.pop() ?? '';
        const numbers = blocks.flatMap((block) => /"instance":"(\d+)"/.exec(block)?.[1] ?? []);
        if (numbers.length > 0) heard(numbers.map(Number));
        else resolve(response); // the first comment: from here on it hears all
      });
    }).on('error', reject);
  });
}
