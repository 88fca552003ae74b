import type { AgentSpec, Definition, Work } from '#shared/contracts/agent.ts';

/** An agent's works in order: its objectives, then its default tasks. Missing ids are numbered from 1. */
export function worksOf(spec: AgentSpec): Work[] {
  const objectives = spec.objectives.map(
    (objective, index): Work => ({
      id: objective.id ?? `objective-${index + 1}`,
      kind: 'objective',
      description: objective.description,
      deliverable: objective.deliverable,
      validation: objective.validation,
      validationCommand: objective.validation_command ?? null,
      dependsOn: objective.depends_on,
      dependsOnAgents: spec.depends_on,
      priority: spec.priority,
    }),
  );
  const tasks = spec.tasks.default.map(
    (task, index): Work => ({
      id: `task-${index + 1}`,
      kind: 'task',
      description: task.description,
      deliverable: `task-${index + 1}.md`,
      validation: null,
      validationCommand: null,
      dependsOn: [],
      dependsOnAgents: [...new Set([...spec.depends_on, ...task.dependencies])],
      priority: task.priority ?? spec.priority,
    }),
  );
  return [...objectives, ...tasks];
}

/** What somebody asks for, beside what an agent has of its own. */
export const adHocWork = (id: string, description: string, priority: Work['priority']): Work => ({
  id,
  kind: 'ad-hoc',
  description,
  deliverable: null,
  validation: null,
  validationCommand: null,
  dependsOn: [],
  dependsOnAgents: [],
  priority,
});

/** The part of a spec that a run keeps. */
export function definitionOf({ objectives, tasks, schedule, depends_on, ...definition }: AgentSpec): Definition {
  return definition;
}
