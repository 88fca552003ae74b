import type { Lease } from './lease.ts';

/** Attacks by their names; each exits with 0 only if it succeeds. */
const attacks: Readonly<Record<string, string>> = {
  "reading the machine's users": 'grep -q root /etc/shadow /host/etc/shadow',
  'reading the environment of process 1': 'cat /proc/1/environ | grep -q .',
  "reading the executor's environment": 'cat /proc/$PPID/environ | grep -q .',
  'writing outside the workspace':
    'touch /usr/bin/canary 2>/dev/null || touch /etc/canary 2>/dev/null || touch /canary',
  'a new namespace': 'unshare --user true',
  'a UNIX socket': `python3 -c 'import socket; socket.socket(socket.AF_UNIX)' || node -e 'require("net").connect("/var/run/docker.sock").on("error", (e) => process.exit(e.code === "EACCES" || e.code === "EPERM" ? 1 : 0))'`,
  'a network beyond this sandbox': '(exec 3<>/dev/tcp/169.254.169.254/80) || (exec 3<>/dev/tcp/1.1.1.1/443)',
};

const timeoutMs = 15_000;

/** Tries to break out of a sandbox. Answers what could be done that must not: none of it, where it holds. */
export async function canaries(lease: Lease): Promise<string[]> {
  await lease.begin(null, null);
  const signal = AbortSignal.timeout(timeoutMs * 4);
  const works = await lease.call('shell', { command: 'echo alive > canary && cat canary' }, timeoutMs, signal);
  if (works.isError || !works.text.includes('alive'))
    throw new Error(`a command does not run in it: ${works.text.slice(0, 500)}`);
  const script = Object.values(attacks)
    .map((attack, index) => `( ${attack} ) >/dev/null 2>&1 && echo escaped-${index}`)
    .join('\n');
  const { text } = await lease.call('shell', { command: `${script}\ntrue` }, timeoutMs, signal);
  if (!text.includes('[exit code 0]')) throw new Error(`its attacks did not run to their end: ${text.slice(0, 500)}`);
  return Object.keys(attacks).filter((_, index) => text.includes(`escaped-${index}\n`));
}
