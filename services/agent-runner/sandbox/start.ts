import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { getCompileCacheDir } from 'node:module';
import { dirname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { devices, readable, systemFolders } from './mounts.ts';

/** A sandbox that has been started, with nothing in it yet but its executor. */
export type Sandbox = {
  connection: Duplex;
  /** The process that all others in it descend from, where it is one of this machine's. */
  pid: number | undefined;
  /** Ends it with all that is in it. */
  end(): Promise<void>;
  /** What it said when it could not be started. */
  stderr(): string;
};

export type SandboxSize = { memoryBytes: number; diskBytes: number };

const executor = fileURLToPath(new URL('executor.ts', import.meta.url));
const project = fileURLToPath(new URL('../../../', import.meta.url));
const nodeFolder = dirname(process.execPath);

/** Where the program that confines is: in an image, or where the set-up has built it. */
export const confinePath = (): string | undefined =>
  ['/usr/local/bin/toka-confine', join(project, 'node_modules', '.toka', 'toka-confine')].find(existsSync);

/** Of /etc no more than programs need to run: nothing of users, hosts or services. */
const systemFiles = [
  'alternatives',
  'ca-certificates',
  'ssl/certs',
  'ssl/openssl.cnf',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'localtime',
  'mime.types',
  'nsswitch.conf',
  'python3',
  'python3.11',
  'python3.12',
  'python3.13',
  'perl',
  'java-17-openjdk',
  'java-21-openjdk',
].map((name) => `/etc/${name}`);
/** Toka's own code, which the executor runs; never its data, keys or settings, which may lie beside it. */
const code = ['services', 'shared', 'node_modules', 'package.json'].map((name) => join(project, name));

/**
 * Where this process has its code compiled (NODE_COMPILE_CACHE), the executor finds its own: it starts in half the time. It cannot write there,
 * and reads it where it lies among the code.
 */
const compiled = getCompileCacheDir();

/** The command that runs the executor confined: Landlock, seccomp, limits. */
export const confined = (confine: string, workspace: string, scratch: string, homes: string): string[] => [
  confine,
  ...[workspace, scratch, homes, ...devices].flatMap((path) => ['--rw', path]),
  ...[...readable, nodeFolder, confine, ...code].flatMap((path) => ['--ro', path]),
  '--',
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  executor,
  workspace,
  scratch,
  homes,
  confine,
];

/** Starts a sandbox of bubblewrap's: its own users, processes, network, files; memory for files is bounded, the rest is watched. */
export function startBubblewrap(confine: string, { diskBytes }: SandboxSize): Sandbox {
  const size = String(Math.ceil(diskBytes));
  const binds = [...systemFolders, ...systemFiles, ...code, nodeFolder, confine].flatMap((path) => [
    '--ro-bind-try',
    path,
    path,
  ]);
  const args = [
    ...['--unshare-user', '--unshare-pid', '--unshare-net', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
    ...['--disable-userns', '--die-with-parent', '--new-session', '--clearenv', '--hostname', 'sandbox'],
    ...['--uid', '10001', '--gid', '10001', '--cap-drop', 'ALL'],
    ...['--proc', '/proc', '--dev', '/dev'],
    ...[
      '--size',
      size,
      '--tmpfs',
      '/dev/shm',
      '--size',
      size,
      '--tmpfs',
      '/tmp',
      '--size',
      size,
      '--tmpfs',
      '/workspace',
      '--size',
      size,
      '--tmpfs',
      '/homes',
    ],
    ...binds,
    ...['--setenv', 'PATH', '/usr/bin:/bin'],
    ...(compiled === undefined ? [] : ['--setenv', 'NODE_COMPILE_CACHE', dirname(compiled)]),
    ...['--chdir', '/workspace', '--'],
    ...confined(confine, '/workspace', '/tmp', '/homes'),
  ];
  return started('bwrap', args);
}

/** Starts an executor that nothing holds but the rights of this process: only where AGENT_SANDBOX_ENABLED is false. */
export function startUnconfined(root: string): Sandbox {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const home = mkdtempSync(join(root, 'unconfined-'));
  const folders = ['workspace', 'tmp', 'homes'].map((name) => join(home, name));
  for (const folder of folders) mkdirSync(folder, { mode: 0o700 });
  const sandbox = started(process.execPath, ['--disable-warning=ExperimentalWarning', executor, ...folders]);
  return {
    ...sandbox,
    async end() {
      await sandbox.end();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

function started(program: string, args: readonly string[]): Sandbox {
  const child: ChildProcess = spawn(program, args, {
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.on('error', (error) => {
    said = error.message;
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk).slice(-5_000);
  });
  const connection = child.stdio[3] as Duplex;
  connection.on('error', () => undefined);
  return {
    connection,
    pid: child.pid,
    async end() {
      connection.destroy();
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
    stderr: () => said,
  };
}
