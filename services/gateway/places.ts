import { statSync } from 'node:fs';
import { readAgentsFile } from '#shared/agents-file.ts';
import type { AgentSpec } from '#shared/contracts/agent.ts';
import type { Places } from '#shared/place-problems.ts';
import { placeProblems } from '#shared/place-problems.ts';
import type { Caller } from './auth.ts';
import { refusalAt } from './input.ts';

/** Throws `invalid` where an agent asks for what is not its workstream's. Its runner looks again when it runs. */
export type CheckPlaces = (spec: AgentSpec, caller: Pick<Caller, 'workstreams'>) => void;

/** Checks by the file as it is now: it is read again once it has changed. `exempt`: EGRESS_EXEMPT. */
export function createCheckPlaces(file: string, exempt: string | undefined): CheckPlaces {
  let read: { stamp: string; places: Places } | undefined;
  const placesNow = (): Places => {
    const stamp = stampOf(file);
    if (read?.stamp !== stamp) {
      const { mcpServers, repositories } = readAgentsFile(file);
      read = { stamp, places: { mcpServers, repositories, exempt } };
    }
    return read.places;
  };
  return (spec, { workstreams }) => {
    const problems = placeProblems(spec, placesNow(), workstreams !== undefined);
    if (problems.length > 0) throw refusalAt(problems, 'the body');
  };
}

function stampOf(file: string): string {
  const { mtimeMs, size, ino } = statSync(file, { throwIfNoEntry: false }) ?? { mtimeMs: 0, size: 0, ino: 0 };
  return `${mtimeMs} ${size} ${ino}`;
}
