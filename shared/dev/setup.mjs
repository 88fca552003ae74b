// Gets this checkout ready: packages, the right Node, nats-server, redis-server, and what confines agents' tools. It runs before every npm script, on whatever
// Node a person has (18 or newer), so it is plain JavaScript without packages. With nothing to do it says nothing.
// With --packages-only it leaves out the servers.

import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const modules = join(root, 'node_modules');
const bin = join(modules, '.bin');
const privateNode = join(modules, '.node24');
const nodeVersion = '24.21.0';
const servers = { 'nats-server': 'nats-server', 'redis-server': 'redis' };
const serverFolders = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin'];

const readJson = (path) => JSON.parse(fs.readFileSync(path, 'utf8'));
const nodeNeeded = Number(/\d+/.exec(readJson(join(root, 'package.json')).engines.node));

/** What stops the set-up: the step, what happened, and what to do about it. */
class Stop extends Error {
  constructor(message, fix) {
    super(message);
    this.fix = fix;
  }
}

// --- Packages ---

/** Whether node_modules holds what package-lock.json asks for, by npm's own record of what it installed. */
function packagesReady() {
  const record = join(modules, '.package-lock.json');
  if (!fs.existsSync(record)) return false;
  const wanted = readJson(join(root, 'package-lock.json')).packages;
  const found = readJson(record).packages;
  const isMet = ([path, { version, optional, devOptional }]) =>
    path === '' || (found[path] ? found[path].version === version : optional || devOptional);
  const isHere = ([path, { os }]) =>
    wanted[path] && (!os || os.includes(process.platform)) && fs.existsSync(join(root, path, 'package.json'));
  return Object.entries(wanted).every(isMet) && Object.entries(found).every(isHere);
}

async function installPackages() {
  await step('packages', 'npm ci', async () => {
    // better-sqlite3 brings its binaries along; no package here needs its scripts to run.
    await npm(['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund'], root);
    if (!packagesReady())
      throw new Stop('npm ci ended well, but packages are missing', 'Remove node_modules and run it again.');
  });
}

// --- Node ---

const isUnder = (path, folder) => path.startsWith(`${folder}/`);

/** Whether `node` in an npm script is new enough. Those scripts look into node_modules/.bin first. */
function nodeReady() {
  if (fs.existsSync(join(bin, 'node'))) return true;
  return !isUnder(process.execPath, modules) && Number.parseInt(process.versions.node, 10) >= nodeNeeded;
}

async function majorOf(node) {
  try {
    return Number.parseInt((await run(node, ['--version'])).replace('v', ''), 10);
  } catch {
    return 0;
  }
}

async function installNode() {
  // This process may itself run on the private Node that a new `npm ci` has just removed: the system's may do by now.
  if ((await majorOf('node')) >= nodeNeeded) return;
  await step(`Node ${nodeNeeded}`, `node@${nodeVersion} from npm, for this folder only`, async () => {
    const allowed = { private: true, allowScripts: { node: true }, dependencies: { node: nodeVersion } };
    fs.rmSync(privateNode, { recursive: true, force: true });
    fs.mkdirSync(privateNode, { recursive: true });
    fs.writeFileSync(join(privateNode, 'package.json'), JSON.stringify(allowed));
    await npm(['install', '--ignore-scripts=false', '--no-audit', '--no-fund'], privateNode);
    const executable = join(privateNode, 'node_modules', 'node', 'bin', 'node');
    if ((await majorOf(executable)) < nodeNeeded) {
      throw new Stop(
        `${executable} does not run on this system`,
        `Install Node ${nodeNeeded} or newer (https://nodejs.org), then run it again.`,
      );
    }
    link('../.node24/node_modules/node/bin/node', join(bin, 'node'));
  });
}

/** Replaces a link at once: another process may be looking it up. */
function link(target, path) {
  fs.mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}`;
  fs.symlinkSync(target, temporary);
  fs.renameSync(temporary, path);
}

// --- Servers ---

const find = (program, folders) => folders.map((folder) => join(folder, program)).find(isExecutable);
const path = () => (process.env.PATH ?? '').split(delimiter).filter(Boolean);

function isExecutable(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const missingServers = () => Object.keys(servers).filter((name) => !find(name, [bin, ...path()]));

/** A server that is installed, but in a folder which this user's PATH lacks (/usr/sbin is one), is linked into node_modules/.bin. */
function linkServers() {
  for (const name of missingServers()) {
    const found = find(name, serverFolders);
    if (found) link(found, join(bin, name));
  }
}

async function installServers() {
  linkServers();
  const missing = missingServers();
  if (missing.length === 0) return;
  const installer = await findInstaller();
  const fix = `Install ${missing.join(' and ')} and run it again, or use \`docker compose up\`, which brings its own.`;
  if (!installer)
    throw new Stop(
      `servers: ${missing.join(' and ')} not found, and no apt (as root or with sudo) or brew to get them`,
      fix,
    );
  await step('servers', `${missing.join(' and ')} by ${installer.name}`, async () => {
    try {
      await installer.install(missing);
    } catch (error) {
      throw new Stop(error.message, fix);
    }
    linkServers();
    if (missingServers().length > 0) throw new Stop(`${missingServers().join(' and ')} still not found`, fix);
  });
}

async function findInstaller() {
  if (find('apt-get', path())) {
    const prefix = process.getuid() === 0 ? [] : (await canSudo()) ? ['sudo', '-n'] : undefined;
    if (prefix) return { name: 'apt-get', install: (missing) => aptInstall(prefix, missing) };
  }
  if (!find('brew', path())) return undefined;
  return { name: 'brew', install: (missing) => run('brew', ['install', ...missing.map((name) => servers[name])]) };
}

const canSudo = () =>
  run('sudo', ['-n', 'true']).then(
    () => true,
    () => false,
  );

async function aptInstall(prefix, missing) {
  const apt = (...args) => {
    const [program, ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args];
    return run(program, rest);
  };
  const install = () => apt('install', '-y', '--no-install-recommends', ...missing);
  await install().catch(async () => {
    // A fresh image has no package lists.
    await apt('update');
    await install();
  });
}

// --- Sandbox ---

const confineSource = join(root, 'services', 'agent-runner', 'sandbox', 'confine.c');
const confine = join(modules, '.toka', 'toka-confine');

/** Whether agents' tools can be confined here: bubblewrap is there, and the program that confines was built from its present source. */
function sandboxReady() {
  if (process.platform !== 'linux') return true; // there is none elsewhere, and the runner says so
  if (!find('bwrap', ['/usr/bin', '/usr/local/bin', '/bin'])) return false;
  return fs.existsSync(confine) && fs.statSync(confine).mtimeMs >= fs.statSync(confineSource).mtimeMs;
}

/** Without it Toka runs, and refuses what needs it: so nothing that goes wrong here stops the set-up. */
async function installSandbox() {
  try {
    const compiler = ['cc', 'gcc', 'clang'].find((name) => find(name, path()));
    const missing = [
      ...(find('bwrap', ['/usr/bin', '/usr/local/bin', '/bin']) ? [] : ['bubblewrap']),
      ...(compiler ? [] : ['gcc', 'libc6-dev']),
    ];
    if (missing.length > 0) {
      const installer = await findInstaller();
      if (installer?.name !== 'apt-get') throw new Error(`${missing.join(', ')} not found, and no apt to get them`);
      await step('sandbox', `${missing.join(', ')} by apt-get`, () => installer.install(missing));
    }
    fs.mkdirSync(dirname(confine), { recursive: true });
    await run(compiler ?? 'gcc', ['-static', '-O2', '-o', `${confine}.new`, confineSource]);
    fs.renameSync(`${confine}.new`, confine);
  } catch (error) {
    const why = error.message.split('\n')[0];
    process.stderr.write(
      `set-up: no sandbox: ${why}\n  Agents' tools will be refused; docker compose brings sandboxes of its own.\n`,
    );
  }
}

// --- Running things ---

async function npm(args, cwd) {
  const script = process.env.npm_execpath;
  const [program, ...rest] =
    find('npm', cleanPath()) || !script ? ['npm', ...args] : [process.execPath, script, ...args];
  try {
    await run(program, rest, { cwd });
  } catch (error) {
    if (error.code === 'ENOENT')
      throw new Stop('npm was not found', 'Install Node with npm (https://nodejs.org), then run it again.');
    const offline =
      /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|ENOTCACHED)\b/.exec(
        error.message,
      );
    throw new Stop(
      error.message,
      offline
        ? `npm's registry cannot be reached (${offline[0]}): check the network, or the proxy and registry in ~/.npmrc, then run it again.`
        : 'Mend what npm says above, then run it again.',
    );
  }
}

/** The PATH without this project's own node_modules/.bin: npm ci is about to remove the Node in it. */
const cleanPath = () => path().filter((folder) => folder !== bin && !isUnder(folder, modules));

/** The environment for programs: without what an outer npm passes down, except where its registry and cache are. */
function cleanEnvironment() {
  const kept =
    /^npm_config_(registry|cache|userconfig|globalconfig|.*proxy|ca|cafile|strict_ssl|fetch_.*|offline|prefer_offline|_.*|\/\/.*|@.*)$/i;
  const passed = Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name) || kept.test(name));
  return { ...Object.fromEntries(passed), PATH: cleanPath().join(delimiter) };
}

/** Runs a program quietly; its output is the answer, or the last lines of it the error. */
function run(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...options, env: cleanEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(-20_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) return resolve(output.trim());
      const lines = telling(output.trim().split('\n'));
      reject(new Error([`${[program, ...args].join(' ')} ended with ${signal ?? code}`, ...lines].join('\n    ')));
    });
  });
}

/** The lines that say why: npm puts its usage and a notice of its log behind them. */
function telling(lines) {
  const errors = lines.filter((line) => /^npm error \S/.test(line));
  return errors.length > 0 ? errors.slice(0, 12) : lines.slice(-15);
}

async function step(name, how, work) {
  const startedMs = performance.now();
  process.stderr.write(`set-up: ${name} (${how}) …\n`);
  try {
    await work();
  } catch (error) {
    throw new Stop(`${name}: ${error.message}`, error.fix ?? 'Run it again.');
  }
  process.stderr.write(`set-up: ${name} ready in ${((performance.now() - startedMs) / 1000).toFixed(1)} s\n`);
}

// --- One at a time ---

const lockFile = join(root, '.toka', 'setup.lock');
const staleMs = 20_000;

/** Holds the lock while `work` goes on. A holder that died, or has shown no sign of life for 20 s, loses it. */
async function alone(work) {
  fs.mkdirSync(dirname(lockFile), { recursive: true, mode: 0o700 });
  const mine = `${lockFile}.${process.pid}`;
  let told = false;
  const isStale = watchLock();
  fs.writeFileSync(mine, String(process.pid));
  try {
    // A link appears at once and with its content, and only where there is none yet.
    while (!tryLink(mine)) {
      dropStaleLock(isStale);
      if (!told) process.stderr.write('set-up: waiting for another set-up of this folder …\n');
      told = true;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  } finally {
    fs.rmSync(mine, { force: true });
  }
  const beat = setInterval(() => fs.utimesSync(lockFile, new Date(), new Date()), 2_000);
  const release = () => fs.rmSync(lockFile, { force: true });
  const interrupted = () => {
    release();
    process.exit(130);
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    await work();
  } finally {
    clearInterval(beat);
    release();
  }
}

function tryLink(mine) {
  try {
    fs.linkSync(mine, lockFile);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Answers whether the lock has shown no sign of life for too long, by a clock that nobody sets. */
function watchLock() {
  let seen;
  return (sign) => {
    if (seen?.sign !== sign) seen = { sign, atMs: performance.now() };
    return performance.now() - seen.atMs >= staleMs;
  };
}

function dropStaleLock(isStale) {
  try {
    const holder = Number(fs.readFileSync(lockFile, 'utf8'));
    const { ino, mtimeMs } = fs.statSync(lockFile);
    if (isAlive(holder) && !isStale(`${ino} ${mtimeMs}`)) return;
    fs.renameSync(lockFile, `${lockFile}.stale`);
    fs.rmSync(`${lockFile}.stale`, { force: true });
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

// --- All of it ---

const withServers = !process.argv.includes('--packages-only');
const ready = () =>
  packagesReady() && nodeReady() && (!withServers || (missingServers().length === 0 && sandboxReady()));

try {
  if (!ready()) {
    await alone(async () => {
      if (!packagesReady()) await installPackages();
      if (!nodeReady()) await installNode();
      if (withServers) await installServers();
      if (withServers && !sandboxReady()) await installSandbox();
    });
  }
} catch (error) {
  process.stderr.write(`\nset-up failed at ${error.message}\n\n  ${error.fix ?? 'Run it again.'}\n\n`);
  process.exitCode = 1;
}
