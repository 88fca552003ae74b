import type { ChildProcess } from 'node:child_process';
import { Failure } from '#shared/errors.ts';
import type { Processes } from './processes.ts';
import { createTail } from './tail.ts';

const jobsMax = 8;

/** Commands that are left running: a model starts them, looks at what they say, and ends them. */
export type Jobs = {
  start(command: readonly string[], options: { cwd?: string; env?: Record<string, string> }): string;
  /** What it has said since it was last asked, and how it ended if it has. */
  read(id: string): string;
  kill(id: string): string;
};

type Job = { child: ChildProcess; output: ReturnType<typeof createTail>; ended: string | undefined };

export function openJobs(processes: Processes): Jobs {
  const jobs = new Map<string, Job>();
  let count = 0;
  const find = (id: string): Job => {
    const job = jobs.get(id);
    if (job) return job;
    const known = [...jobs.keys()].join(', ') || 'none';
    throw new Failure(
      'invalid',
      `job: there is no background command ${JSON.stringify(id.slice(0, 50))}; there are: ${known}`,
    );
  };
  const read = (id: string): string => {
    const job = find(id);
    const said = job.output.toString();
    job.output = createTail();
    if (job.ended) jobs.delete(id);
    return [said, `[${id} ${job.ended ?? 'is running'}]`].filter(Boolean).join('\n');
  };
  return {
    start(command, options) {
      if ([...jobs.values()].filter(({ ended }) => !ended).length >= jobsMax)
        throw new Failure('invalid', `at most ${jobsMax} background commands may run; end one with shell_kill`);
      const child = processes.start(command, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
      count += 1;
      const id = `job-${count}`;
      const job: Job = { child, output: createTail(), ended: undefined };
      jobs.set(id, job);
      for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => job.output.add(chunk));
      const end = (how: string) => {
        job.ended ??= how;
        processes.release(child);
      };
      child.once('error', (error) => end(`could not be started: ${error.message}`));
      child.once('exit', (code, signal) => end(signal ? `was ended by ${signal}` : `ended with exit code ${code}`));
      return id;
    },
    read,
    kill(id) {
      const { child } = find(id);
      processes.kill(child);
      processes.release(child);
      return `[${id} was ended]`;
    },
  };
}
