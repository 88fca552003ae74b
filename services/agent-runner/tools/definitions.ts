import type { ToolOffer } from '#shared/contracts/llm.ts';
import { allowed } from './capabilities.ts';
import { listFiles } from './list-files.ts';
import { readFile } from './read-file.ts';
import { searchFiles } from './search-files.ts';
import { submitDeliverable } from './submit-deliverable.ts';
import type { Tool } from './tool.ts';
import { writeFile } from './write-file.ts';

/** Every tool there is. */
const tools: readonly Tool[] = [listFiles, readFile, searchFiles, writeFile, submitDeliverable];

export const toolNames: readonly string[] = tools.map(({ name }) => name);
export const findTool = (name: string): Tool | undefined => tools.find((tool) => tool.name === name);

/** Whether a call of it that may or may not have happened can simply be made again. */
export const isIdempotent = (name: string): boolean => findTool(name)?.idempotent ?? false;

/** What a model is offered: the tools that the agent's capabilities allow, and one to hand in with where something is to be handed in. */
export function offersFor(capabilities: readonly string[], deliverable: boolean): ToolOffer[] {
  const may = allowed(capabilities);
  return tools
    .filter(({ needs }) => (needs === null ? deliverable : may.has(needs)))
    .map(({ name, description, inputSchema }) => ({ name, description, inputSchema }));
}
