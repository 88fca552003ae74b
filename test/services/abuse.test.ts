import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import type { Lease, ToolResult } from '../../services/agent-runner/sandbox/lease.ts';
import { openLease } from '../../services/agent-runner/sandbox/lease.ts';
import type { Sandbox } from '../../services/agent-runner/sandbox/start.ts';
import { confinePath, startBubblewrap, startUnconfined } from '../../services/agent-runner/sandbox/start.ts';
import { watchTree } from '../../services/agent-runner/sandbox/watch.ts';

// What an agent could try, each attempt by what it wants. In the sandbox none succeeds; without it the same attempt is seen to succeed,
// wherever that is safe to show: then the test can fail.

const MiB = 1024 ** 2;
const never = new AbortController().signal;

type Bench = {
  lease: Lease;
  outside: string;
  port: number;
  shell(command: string, timeoutMs?: number): Promise<ToolResult>;
  python(code: string): Promise<ToolResult>;
};

/** A lease, and beside it what it must not reach: a folder with a secret, this process's environment, a server on loopback. */
async function open(stack: AsyncDisposableStack, confined: boolean, memoryBytes = 512 * MiB): Promise<Bench> {
  process.env.TOKA_CANARY = 'the canary of the environment';
  const outside = stack.use(await temporaryFolder()).path;
  writeFileSync(join(outside, 'secret.txt'), 'the canary of the files');
  mkdirSync(join(outside, 'open'), { mode: 0o777 });
  const server = createServer((_, response) => void response.end('the canary of the network')).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  stack.defer(() => void server.close());
  const confine = confinePath();
  if (!confine) throw new Error('toka-confine was not built');
  const sandbox: Sandbox = confined
    ? startBubblewrap(confine, { memoryBytes, diskBytes: 64 * MiB })
    : startUnconfined(join(outside, 'unconfined'));
  const lease = await openLease(sandbox, {
    branch: 'main',
    author: 'anna',
    network: false,
    processesMax: 128,
    fileBytesMax: 256 * MiB,
    serveEgress: undefined,
    watch: confined ? (pid, exceeded) => watchTree({ pid, memoryBytes, cpus: 0.5, exceeded }) : undefined,
  });
  stack.defer(() => lease.end());
  await lease.begin(null, null);
  return {
    lease,
    outside,
    port: (server.address() as AddressInfo).port,
    shell: (command, timeoutMs = 15_000) => lease.call('shell', { command }, timeoutMs, never),
    python: (code) => lease.call('run_code', { language: 'python', code }, 15_000, never),
  };
}

type Attempt = {
  /** Its number in the list of attempts. */
  number: number;
  what: string;
  /** Answers whether it got what it wanted. */
  succeeds(bench: Bench): Promise<boolean>;
};

const says = async (result: Promise<ToolResult>, wanted: string | RegExp) => {
  const { text } = await result;
  return typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text);
};
const canary = 'the canary of';

/** A system call by its number, tried from Python: `got in` where it did not fail with EPERM, ENOSYS or EACCES. */
const syscall = (call: string) => `
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
result = libc.syscall(${call})
code = ctypes.get_errno()
print('GOT in'.replace('GOT', 'got') if result >= 0 or code not in (errno.EPERM, errno.ENOSYS, errno.EACCES) else errno.errorcode[code])`;

/** Harmless where they work: what they would do to this machine is nothing. */
const attempts: Attempt[] = [
  {
    number: 1,
    what: 'a file outside by its absolute path',
    succeeds: ({ shell, outside }) => says(shell(`cat ${outside}/secret.txt`), canary),
  },
  { number: 1, what: 'a file outside by ..', succeeds: ({ shell }) => says(shell('cat ../../../secret.txt'), canary) },
  {
    number: 2,
    what: 'a link to a file outside',
    succeeds: ({ shell, outside }) => says(shell(`ln -s ${outside}/secret.txt l; cat l`), canary),
  },
  {
    number: 3,
    what: 'a link swapped in while a file is written',
    async succeeds({ lease, shell, outside }) {
      await shell('mkdir real');
      const swap = `import os, time\nuntil = time.time() + 2\nwhile time.time() < until:\n  os.rename('real', 'x'); os.symlink('${outside}/open', 'real'); os.unlink('real'); os.rename('x', 'real')`;
      await lease.call('shell', { command: `python3 -c "${swap}"`, background: true }, 5_000, never);
      for (const until = Date.now() + 2_000; Date.now() < until; )
        await lease.call('write_file', { path: 'real/f.txt', content: 'x' }, 5_000, never);
      await shell('sleep 0.5');
      // Without the sandbox the tools' own care holds: what a shell does through the link is the counter-proof.
      await shell(`ln -sfn ${outside}/open through; echo x > through/f.txt`);
      return existsSync(join(outside, 'open', 'f.txt'));
    },
  },
  {
    number: 4,
    what: 'a second name for a file outside',
    succeeds: ({ shell, outside }) =>
      says(shell(`ln ${outside}/secret.txt ${outside}/again && cat ${outside}/again`), canary),
  },
  {
    number: 5,
    what: 'the environment of whoever started it',
    succeeds: ({ shell }) =>
      says(
        shell('for p in 1 $PPID $(cut -d" " -f4 /proc/$PPID/stat); do tr "\\0" "\\n" < /proc/$p/environ; done'),
        /TOKA_CANARY|PATH=/,
      ),
  },
  {
    number: 6,
    what: 'the memory of its executor',
    succeeds: ({ python }) =>
      says(python("import os\nopen(f'/proc/{os.getppid()}/mem','rb'); print('GOT'.lower(), 'in')"), 'got in'),
  },
  {
    number: 6,
    what: 'the root and the files of its executor',
    succeeds: ({ shell }) =>
      says(shell('ls /proc/$PPID/fd/ && ls /proc/$PPID/root/ > /dev/null && echo got in'), 'got in'),
  },
  {
    number: 8,
    what: 'ptrace of its executor',
    succeeds: ({ python }) => says(python(syscall('101, 0x4206, os.getppid(), 0, 0')), 'got in'),
  },
  {
    number: 8,
    what: 'reading its executor with process_vm_readv',
    succeeds: ({ python }) => says(python(syscall('310, os.getppid(), 0, 0, 0, 0, 0')), 'got in'),
  },
  {
    number: 10,
    what: 'a process that outlives its call',
    async succeeds({ shell }) {
      await shell('(setsid sleep 61.7 >/dev/null 2>&1 &); sleep 0.3');
      const alive = await says(shell('pgrep -f "sleep 61[.]7" && echo alive; pkill -f "sleep 61[.]7"; true'), 'alive');
      return alive;
    },
  },
  {
    number: 12,
    what: 'memory that no process holds (memfd)',
    succeeds: ({ python }) => says(python(syscall("319, b'm', 0")), 'got in'),
  },
  {
    number: 20,
    what: 'a server of this machine',
    succeeds: ({ shell, port }) =>
      says(shell(`exec 3<>/dev/tcp/127.0.0.1/${port} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`), canary),
  },
  {
    number: 20,
    what: 'a socket of MPTCP, which rules for TCP do not hold',
    succeeds: ({ python }) => says(python(syscall('41, 2, 1, 262')), 'got in'),
  },
  {
    number: 20,
    what: 'a UDP socket',
    succeeds: ({ python }) =>
      says(
        python("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM); print('GOT'.lower(), 'in')"),
        'got in',
      ),
  },
  {
    number: 20,
    what: 'a raw socket by another family (netlink)',
    succeeds: ({ python }) =>
      says(
        python("import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW); print('GOT'.lower(), 'in')"),
        'got in',
      ),
  },
  {
    number: 21,
    what: 'a UNIX socket',
    succeeds: ({ python }) =>
      says(python("import socket; socket.socket(socket.AF_UNIX); print('GOT'.lower(), 'in')"), 'got in'),
  },
  {
    number: 22,
    what: 'a hook and a filter of git that reach outside',
    async succeeds({ lease, shell, outside }) {
      const harm = `cp ${outside}/secret.txt ${outside}/open/stolen`;
      await shell(
        `echo '* filter=f' > .gitattributes; git config filter.f.clean '${harm}; cat'; git config core.fsmonitor '${harm}'; printf '#!/bin/sh\\n${harm}\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; echo x > a`,
      );
      await lease.call('git_status', {}, 5_000, never);
      await lease.call('git_commit', { message: 'x' }, 5_000, never);
      await lease.snapshot().catch(() => null);
      return existsSync(join(outside, 'open', 'stolen'));
    },
  },
  {
    number: 23,
    what: "programs put before the system's",
    succeeds: ({ shell, outside }) =>
      says(
        shell(
          `echo x > /usr/local/bin/toka-abuse-test && echo got in; rm -f /usr/local/bin/toka-abuse-test; touch ${outside}/open/mark && echo got in`,
        ),
        'got in',
      ),
  },
  {
    number: 24,
    what: 'an archive that unpacks outside',
    async succeeds({ shell, outside }) {
      await shell(
        `mkdir t && ln -s ${outside}/open t/d && tar cf a.tar t/d && rm t/d && mkdir t/d && echo x > t/d/slip && tar rf a.tar t/d/slip && rm -r t && tar xf a.tar -P; true`,
      );
      return existsSync(join(outside, 'open', 'slip'));
    },
  },
  {
    number: 25,
    what: 'a user namespace of its own',
    succeeds: ({ shell }) => says(shell('unshare --user true && echo got in'), 'got in'),
  },
  { number: 25, what: 'io_uring', succeeds: ({ python }) => says(python(syscall('425, 1, 0')), 'got in') },
  { number: 25, what: 'clone3', succeeds: ({ python }) => says(python(syscall('435, 0, 0')), 'got in') },
  { number: 25, what: 'a keyring', succeeds: ({ python }) => says(python(syscall('250, 0, -3, 1')), 'got in') },
  {
    number: 25,
    what: 'an open file of another process (pidfd_getfd)',
    succeeds: ({ python }) =>
      says(
        python(
          `import os\npid = os.pidfd_open(os.getpid())${syscall('438, pid, 0, 0').replace('\nimport', '\nimport')}`,
        ),
        'got in',
      ),
  },
];

test('without the sandbox each attempt gets what it wants: the attempts are real', async (t) => {
  await using stack = new AsyncDisposableStack();
  for (const attempt of attempts) {
    const bench = await open(stack, false);
    t.true(await attempt.succeeds(bench), `${attempt.number}: ${attempt.what}`);
  }
});

test('in the sandbox none of them does, and it and its neighbour are well afterwards', async (t) => {
  await using stack = new AsyncDisposableStack();
  const neighbour = await open(stack, true);
  for (const attempt of attempts) {
    const bench = await open(stack, true);
    t.false(await attempt.succeeds(bench), `${attempt.number}: ${attempt.what}`);
    t.regex((await bench.shell('echo well')).text, /^well/, `after ${attempt.what}`);
    await bench.lease.end();
  }
  await isWell(t, neighbour);
});

const isWell = async (t: ExecutionContext, { lease, shell, outside }: Bench) => {
  t.true(lease.alive());
  t.regex((await shell('sh -c "echo fork" && echo well')).text, /fork\nwell/);
  t.is(readFileSync(join(outside, 'secret.txt'), 'utf8'), 'the canary of the files');
};

const bombs: [number, string, Bombing, ToolResult['killed'][]][] = [
  [
    7,
    'killing all that it can',
    ({ shell }) => shell('kill -9 -1; kill -9 1; kill -9 $PPID; sleep 1'),
    [undefined, 'sandbox'],
  ],
  [
    9,
    'a fork bomb',
    ({ shell }) => shell('f() { f | f & }; f 2>/dev/null; sleep 5', 10_000),
    [undefined, 'processes', 'sandbox', 'memory', 'time'],
  ],
  [11, 'memory in one process', ({ python }) => python('x = []\nwhile True: x.append(bytearray(10**7))'), ['memory']],
  [
    11,
    'memory in a tree of four',
    ({ shell }) =>
      shell(
        'for i in 1 2 3 4; do python3 -c "x = bytearray(150 * 1024 ** 2); import time; time.sleep(8)" & done; wait',
      ),
    ['memory'],
  ],
  [
    11,
    'memory in Buffers',
    ({ lease }) =>
      lease.call(
        'run_code',
        {
          language: 'javascript',
          code: 'const all = []; for (;;) { all.push(Buffer.alloc(10 ** 7, 1)); await new Promise((r) => setTimeout(r, 5)); }',
        },
        15_000,
        never,
      ),
    ['memory'],
  ],
  [
    12,
    'shared memory',
    ({ python }) =>
      python(
        'import mmap\nm = mmap.mmap(-1, 450 * 1024 ** 2)\nfor i in range(0, len(m), 4096): m[i] = 1\nimport time; time.sleep(8)',
      ),
    ['memory'],
  ],
  [
    9,
    'threads in one process',
    ({ python }) =>
      python(
        'import threading, time\nthreading.stack_size(32768)\nfor _ in range(1000): threading.Thread(target=time.sleep, args=(8,), daemon=True).start()\ntime.sleep(8)',
      ),
    ['processes'],
  ],
  [15, 'output without end', ({ shell }) => shell('yes'), ['output']],
  [15, 'slow output without end', ({ shell }) => shell('while :; do echo x; sleep 0.05; done', 1_500), ['time']],
];
type Bombing = (bench: Bench) => Promise<ToolResult>;

test('bombs end what they began, say which limit it was, and leave a neighbour well', async (t) => {
  await using stack = new AsyncDisposableStack();
  const neighbour = await open(stack, true);
  for (const [number, what, bomb, ends] of bombs) {
    const bench = await open(stack, true, 300 * MiB);
    const { killed } = await bomb(bench);
    t.true(ends.includes(killed), `${number}, ${what}: ${killed}`);
    if (bench.lease.alive()) t.regex((await bench.shell('echo well')).text, /well/, what);
    await bench.lease.end();
    await isWell(t, neighbour);
  }
});

test("two spinners get the processor that they may have, and a full disk or many files are the sandbox's own trouble", async (t) => {
  await using stack = new AsyncDisposableStack();
  const bench = await open(stack, true);
  const spun = await bench.shell('timeout 4 sh -c "while :; do :; done" & timeout 4 sh -c "while :; do :; done"; wait');
  t.true(spun.cpuSeconds < 4.5, `${spun.cpuSeconds} s of 8: half a processor and a burst`);
  const full = await bench.shell(
    'head -c 100M /dev/zero > big; head -c 100M /dev/zero > /tmp/big; truncate -s 1T sparse; rm -f big /tmp/big sparse; echo x > small && cat small',
  );
  t.regex(full.text, /No space left[\s\S]*(File too large|failed to truncate|File size limit)[\s\S]*x\n/);
  const made = await bench.python(
    "import os, stat\nfor mode, what in ((stat.S_IFBLK, 'block'), (stat.S_IFCHR, 'character')):\n  try: os.mknod(what, mode | 0o666, os.makedev(1, 3)); print('made', what)\n  except OSError as e: print(e.errno)\nopen('s','w').close(); os.chmod('s', 0o6777); print(os.geteuid())",
  );
  t.notRegex(made.text, /made/);
  t.regex(made.text, /10001\n/);
});

test('sockets are too few to keep much memory in, and ordinary ones work', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { python } = await open(stack, true);
  const made = await python(
    "import socket\nsocket.create_server(('127.0.0.1', 0))\nsocket.socket(socket.AF_INET6, socket.SOCK_STREAM, 6)\nall = []\ntry:\n  while True: all.append(socket.socketpair())\nexcept OSError as e: print(e.errno, len(all) < 128)",
  );
  t.regex(made.text, /^24 True\n/);
});

test('newer system calls are refused by their numbers', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { python } = await open(stack, true);
  t.regex((await python(syscall('467, -1, 0, 0, 0, 0'))).text, /^EPERM\n/, 'open_tree_attr');
  t.regex((await python(syscall('447, 0'))).text, /^ENOSYS\n/, 'memfd_secret');
});

test('a confined program finds no open file but its three and, where that is so, the connection', async (t) => {
  const opened = async (...options: string[]) => {
    const folders = ['/usr', '/bin', '/lib', '/lib64', '/proc'].flatMap((path) => ['--ro', path]);
    const look = 'for fd in 3 4 5; do if [ -e /proc/$$/fd/$fd ]; then echo $fd; fi; done';
    const child = spawn(confinePath() ?? '', [...options, ...folders, '--', 'sh', '-c', look], {
      stdio: ['ignore', 'pipe', 'inherit', 'pipe', 'pipe', 'pipe'],
    });
    return child.stdout ? await text(child.stdout) : 'nothing';
  };
  t.is(await opened(), '3\n');
  t.is(await opened('--close', '3'), '');
});

test('one that leaves a child behind at every moment does not outlive its call', async (t) => {
  await using stack = new AsyncDisposableStack();
  for (let turn = 0; turn < 5; turn++) {
    const { lease, shell, python } = await open(stack, true);
    await python(
      'import os, time\nif os.fork() == 0:\n  os.setsid()\n  until = time.time() + 20\n  for _ in range(10):\n    if os.fork() == 0: break\n  while time.time() < until:\n    if os.fork(): os._exit(0)\ntime.sleep(0.3)',
    );
    // Those that have ended, and were not collected yet, do nothing more.
    const { text } = await shell(
      `cat /proc/[0-9]*/status 2>/dev/null | awk '/^Name:/ { name = $2 } /^State:/ && name == "python3" && $2 !~ /[ZX]/ { n++ } END { print n + 0 }'`,
    );
    // On a machine that is busy those that have ended may pile up, until the whole sandbox is ended for their number.
    if (lease.alive()) t.regex(text, /^0\n/);
    await lease.end();
  }
  t.pass();
});

test("of the system's keys and certificates only what is public is seen", async (t) => {
  await using stack = new AsyncDisposableStack();
  const { shell } = await open(stack, true);
  const { text } = await shell(
    'ls /etc/ssl; git config --system -l; python3 -c "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 0)"',
  );
  t.notRegex(text, /private/);
  t.regex(text, /^certs\n/);
});

test('a sandbox that cannot be started runs nothing', async (t) => {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const broken = startBubblewrap(join(folder, 'no-such-program'), { memoryBytes: MiB, diskBytes: MiB });
  const wish = {
    branch: 'main',
    author: 'a',
    network: false,
    processesMax: 1,
    fileBytesMax: 1,
    serveEgress: undefined,
    watch: undefined,
  };
  await t.throwsAsync(openLease(broken, wish), { code: 'sandbox', message: /did not start/ });
});
