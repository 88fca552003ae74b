import { problemLine, readAgentsFile } from '#shared/agents-file.ts';
import { commandAgent } from '#shared/command.ts';
import type { DataOf } from '#shared/contracts/events.ts';
import { newEvent } from '#shared/event.ts';
import type { Context } from '#shared/service.ts';
import type { Board } from './board.ts';
import { rosterChanges } from './roster.ts';

type Hands = Pick<Context<unknown>, 'bus' | 'logger' | 'writer'>;

/** The agents of the file: loaded when this instance begins to lead, and whenever the file has changed. */
export function createRoster(hands: Hands, file: string, board: Board) {
  let isDue = true;
  return {
    changed() {
      isDue = true;
    },
    async load(isNew: boolean) {
      if (!isDue && !isNew) return;
      // A change while it is loaded makes it due again.
      isDue = false;
      await loadRoster(hands, file, board).catch((error) => {
        isDue = true;
        throw error;
      });
    },
  };
}

/** Brings the agents to what the file says, and records what that changed; a bad agent is reported and left out, the good ones go on. */
async function loadRoster({ bus, logger, writer }: Hands, file: string, board: Board): Promise<void> {
  const found = readAgentsFile(file);
  for (const problem of found.problems) logger.error(problemLine(file, problem));
  const loaded: DataOf<'toka.system.config-loaded.v1'> = {
    file,
    registered: [],
    updated: [],
    left: [],
    problems: found.problems,
  };
  for (const change of rosterChanges(found, board.agents)) {
    if (change.do === 'leave') {
      loaded.left.push({ agent: change.id, reason: change.reason });
      logger.warn(`agent "${change.id}" is left as it is: ${change.reason}`);
      continue;
    }
    const { name } = change.spec;
    await commandAgent(bus, name, { type: change.do, spec: change.spec, origin: 'file' }, writer);
    (change.do === 'register' ? loaded.registered : loaded.updated).push(name);
  }
  const seq = await bus.append(
    newEvent({ type: 'toka.system.config-loaded.v1', data: loaded }, 'system/scheduler', writer),
  );
  const { registered, updated } = loaded;
  logger.info({ registered, updated, problems: found.problems.length, seq }, 'agents loaded');
}
