import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';

const run = promisify(execFile);
const name = 'toka-outside';
const here = '10.213.7.1';

/** An HTTP server in a network of its own, beyond this machine: it knows no way back to Docker's networks, as the internet does not. */
export async function startOutside(): Promise<{ url: string; [Symbol.asyncDispose](): Promise<void> }> {
  const ip = (...args: string[]) => run('ip', args);
  await using stack = new AsyncDisposableStack();
  await ip('netns', 'delete', name).catch(() => undefined);
  await ip('netns', 'add', name);
  stack.defer(async () => void (await ip('netns', 'delete', name)));
  await ip('link', 'add', 'toka-out0', 'type', 'veth', 'peer', 'name', 'toka-out1', 'netns', name);
  await ip('address', 'add', `${here}/30`, 'dev', 'toka-out0');
  await ip('link', 'set', 'toka-out0', 'up');
  await ip('-n', name, 'address', 'add', '10.213.7.2/30', 'dev', 'toka-out1');
  await ip('-n', name, 'link', 'set', 'toka-out1', 'up');
  const program = "require('http').createServer((q, s) => s.end('outside')).listen(80, () => console.log('up'))";
  const server = spawn('ip', ['netns', 'exec', name, process.execPath, '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  stack.defer(() => void server.kill('SIGKILL'));
  await once(server.stdout, 'data');
  const owned = stack.move();
  return { url: 'http://10.213.7.2/', [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
