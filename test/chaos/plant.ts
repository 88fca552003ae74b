import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

type Patch = { file: string; from: string; to: string };

/** Bugs as somebody could make them, each as lines of the sources and what stands there instead. */
export const plants = {
  /** Appends are taken whoever was first. */
  'no-fence': [
    {
      file: 'shared/bus/publish.ts',
      from: "if (expected !== undefined) header.set('Nats-Expected-Last-Subject-Sequence', String(expected));",
      to: 'void expected;',
    },
  ],
  /** A store takes what it has received for archived, commits now and then, and goes on from wherever the log is. */
  'ack-before-commit': [
    {
      file: 'services/store/inlet.ts',
      from: 'if (seq < next) return true;',
      to: 'if (seq <= archive.seq) return true;',
    },
    { file: 'services/store/inlet.ts', from: 'if (seq > next) {', to: 'if (Number.isNaN(seq)) {' },
    { file: 'services/store/inlet.ts', from: 'soon(flush);', to: 'later(flush, backlogMs);' },
    { file: 'services/store/inlet.ts', from: 'const backlogMs = 10;', to: 'const backlogMs = 250;' },
    {
      file: 'services/store/archive.ts',
      from: '      if (message.seq !== next) throw',
      to: '      next = message.seq;\n      if (message.seq !== next) throw',
    },
    {
      file: 'services/store/follow.ts',
      from: 'bus.follow({ from: archive.seq + 1,',
      to: 'bus.follow({ from: (archive.seq === 0 ? 0 : await bus.lastSeq()) + 1,',
    },
  ],
  /** A runner does not renew the lease of what it works on. */
  'lost-lease': [{ file: 'services/agent-runner/main.ts', from: 'lease.working()', to: 'undefined' }],
} as const satisfies Record<string, readonly Patch[]>;

export type PlantName = keyof typeof plants;

/** The checks that find it: what else is wrong meanwhile is no proof that it can be found. */
export const signs: Record<PlantName, readonly string[]> = {
  'no-fence': ['only its runner writes', 'a run ends once', 'a call has one result', 'a work is queued once'],
  'ack-before-commit': ['SQLite equals the stream'],
  'lost-lease': ['a run stays with its runner'],
};

const project = fileURLToPath(new URL('../..', import.meta.url));

/** A copy of the sources in `folder` with the bug in it. Throws where a line that it replaces is not there just once. */
export async function plantIn(folder: string, name: PlantName): Promise<string> {
  const root = join(folder, 'sources');
  await mkdir(root, { recursive: true });
  for (const part of ['services', 'shared', 'config', 'package.json'])
    await cp(join(project, part), join(root, part), { recursive: true });
  await symlink(join(project, 'node_modules'), join(root, 'node_modules'));
  for (const patch of plants[name]) {
    const file = join(root, patch.file);
    await writeFile(file, patched(await readFile(file, 'utf8'), patch));
  }
  return root;
}

/** A source with one place of it replaced. */
export function patched(source: string, { file, from, to }: Patch): string {
  const count = source.split(from).length - 1;
  if (count !== 1) throw new Error(`${file}: what is to be replaced is there ${count} times, not once: ${from}`);
  return source.replace(from, () => to);
}
