import { z } from 'zod';
import { name } from './name.ts';

/** Whose something is: workstreams by their names, or "*" for all of them. */
export const Workstreams = z.array(name(100)).min(1, 'must name a workstream, or "*" for all').max(100);

/** Whether something is for a workstream; what says nothing is for all. */
export const isFor = (workstreams: readonly string[] | undefined, workstream: string): boolean =>
  workstreams === undefined || workstreams.includes('*') || workstreams.includes(workstream);

const branchGlobs = z
  .array(z.string().min(1, 'must not be empty').max(200, 'must be at most 200 characters'))
  .min(1, 'must name a branch, or "*" for all')
  .max(100);

/** Whose a repository is, and which of its branches: all that lies in a folder, or begins as a URL does. */
export const RepositoryRule = z
  .strictObject({
    path: z.string().trim().min(1, 'must not be empty').max(1_000, 'must be at most 1000 characters'),
    /** Left out: those that `branches` names. */
    workstreams: Workstreams.optional(),
    /** By workstream, or "*" for any other, the branches that its agents may work on, with * for any part. Left out: all. */
    branches: z.record(name(100), branchGlobs).optional(),
  })
  .superRefine(({ workstreams, branches }, context) => {
    if (workstreams === undefined && Object.keys(branches ?? {}).length === 0)
      context.addIssue({
        code: 'custom',
        path: [],
        message: 'needs workstreams = ["…"]: those whose agents may have it, or ["*"] for all',
      });
  });
export type RepositoryRule = z.infer<typeof RepositoryRule>;
