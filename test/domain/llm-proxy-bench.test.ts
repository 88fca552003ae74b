import test from 'ava';
import { goalsOf } from '#test/bench/proxy/goals.ts';
import { createReader } from '#test/bench/proxy/http-reader.ts';
import type { Measured } from '#test/bench/proxy/job.ts';
import type { Results } from '#test/bench/proxy/results.ts';

const wire = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n',
  'HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n',
  'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
].join('');

function readIn(pieces: Buffer[]): string[] {
  const messages: string[] = [];
  let [head, body] = ['', ''];
  const read = createReader({
    head(text) {
      head = text.slice(9, 12);
    },
    body(part) {
      body += part.toString();
    },
    end() {
      messages.push(`${head} ${body}`);
      body = '';
    },
  });
  for (const piece of pieces) read(piece);
  return messages;
}

test('the load reads the same messages in whatever pieces they come', (t) => {
  const all = Buffer.from(wire);
  const wanted = ['200 hello', '200 abc0123456789', '204 ', '200 ok'];
  t.deepEqual(readIn([all]), wanted);
  t.deepEqual(readIn(Array.from(all, (byte) => Buffer.of(byte))), wanted);
  for (let at = 1; at < all.length; at++) t.deepEqual(readIn([all.subarray(0, at), all.subarray(at)]), wanted);
});

test('the load refuses what has no length, and chunks that are not as long as they say', (t) => {
  t.throws(() => readIn([Buffer.from('HTTP/1.1 200 OK\r\n\r\n')]), { message: /does not say its length/ });
  const broken = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n';
  t.throws(() => readIn([Buffer.from(broken)]), { message: /does not end where it says/ });
  t.throws(() => readIn([Buffer.alloc(70_000, 'x')]), { message: /longer than 65536 bytes/ });
});

const of = (requests: number, gatewayMs = 80, firstP50Ms = 1): Measured => ({
  ...{ sent: requests, requests, seconds: 1, p50Ms: 1, p99Ms: 2, firstP50Ms, counted: 0 },
  cpuMs: { gateway: gatewayMs },
});

test('a goal is judged by the median over rounds, each against the other side of its own round', (t) => {
  const results: Results = {
    uncached32: { toka: [of(700), of(500), of(6_000)], portkey: [of(100), of(100), of(1_500)] },
    stream1: { toka: [of(1, 1, 2.5)], direct: [of(1, 1, 1)] },
  };
  const goals = goalsOf(results, 351);
  const got = (what: string) => goals.find((goal) => goal.what.startsWith(what));
  t.like(got("uncached requests/s to Portkey's, 32"), { got: 5, met: false });
  t.like(got("added to a stream's"), { got: 1.5, met: false });
  t.like(got('processor time of a request, 32'), { got: (80 * 1000) / 700, met: true });
  t.like(got('peak memory'), { got: 351, met: false });
});

test('a goal that could not be measured is not met', (t) => {
  const goals = goalsOf({ uncached32: { toka: [of(700)], portkey: [undefined] } }, undefined);
  const [first] = goals;
  t.like(first, { got: undefined, met: false });
  t.deepEqual(
    goals.filter(({ met }) => met).map(({ what }) => what),
    ['processor time of a request, 32 connections'],
  );
});
