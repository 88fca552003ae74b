import type { AgentInput } from '#shared/contracts/agent.ts';
import { AgentSpec } from '#shared/contracts/agent.ts';

/** The smallest agent that a person would write, with changes. */
export const agentInput = (changes: Partial<AgentInput> = {}): AgentInput => ({
  name: 'scout',
  version: '1.0.0',
  domain: 'docs',
  priority: 'high',
  workstream: 'main',
  branch: 'main',
  capabilities: { primary: ['filesystem-read'], secondary: [] },
  objectives: [
    { description: 'Make an inventory of the files', deliverable: 'inventory.md', validation: 'It is not empty' },
  ],
  ...changes,
});

export const agentSpec = (changes: Partial<AgentInput> = {}): AgentSpec => AgentSpec.parse(agentInput(changes));
