import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import { createReader } from './http-reader.ts';
import { answerBody, late, mark, streamEvents, usageEvent } from './messages.ts';

// A provider without latency that speaks OpenAI's wire: each request is read whole, and answered with its own number.

const lateMs = 10;
let count = 0;

const asBuffers = (events: readonly string[]) =>
  events.map((event) => `${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`);
const head = (headers: string) => `HTTP/1.1 200 OK\r\nx-request-id: req_${mark.slice(1)}\r\n${headers}\r\n\r\n`;
const whole = `${head(`content-type: application/json\r\ncontent-length: ${Buffer.byteLength(answerBody)}`)}${answerBody}`;
const streamHead = head('content-type: text/event-stream\r\ntransfer-encoding: chunked');
const frames = asBuffers(streamEvents);
const framesWithUsage = asBuffers([...streamEvents.slice(0, -1), usageEvent, ...streamEvents.slice(-1)]);

const server = createServer({ noDelay: true }, (socket) => {
  let line = '';
  let parts: Buffer[] = [];
  const read = createReader({
    head(text) {
      line = text.slice(0, text.indexOf('\r\n'));
    },
    body: (part) => parts.push(part),
    end() {
      const [only] = parts;
      const body = only && parts.length === 1 ? only : Buffer.concat(parts);
      parts = [];
      answer(socket, line, body.toString('latin1'));
    },
  });
  socket.on('data', (chunk) => {
    try {
      read(chunk);
    } catch (error) {
      socket.destroy(error instanceof Error ? error : undefined);
    }
  });
  socket.on('error', () => socket.destroy());
});

function answer(socket: Socket, line: string, body: string): void {
  const number = /#\d{12}/.exec(body)?.[0];
  if (line !== 'POST /v1/chat/completions HTTP/1.1' || !number || !body.endsWith('}')) {
    socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n');
    return;
  }
  count += 1;
  if (!body.includes('"stream":true')) {
    socket.write(whole.replace(mark.slice(1), number.slice(1)).replace(mark, number), 'latin1');
    return;
  }
  const own = (body.includes('"include_usage":true') ? framesWithUsage : frames).map((frame) =>
    frame.replace(mark, number),
  );
  const [first = '', ...others] = own;
  socket.write(streamHead.replace(mark.slice(1), number.slice(1)) + first, 'latin1');
  // One write for each event, as a provider makes them.
  const goOn = () => {
    for (const frame of others) socket.write(frame, 'latin1');
    socket.write('0\r\n\r\n', 'latin1');
  };
  if (body.includes(late)) setTimeout(goOn, lateMs);
  else goOn();
}

server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('message', () => process.send?.({ answer: count }));
process.once('disconnect', () => process.exit());
