import { resolve } from 'node:path';
import type { RepositoryRule } from './contracts/repository.ts';
import { isFor } from './contracts/repository.ts';
import { matches } from './domain/glob.ts';

export const isUrl = (repository: string) => /^[a-z][a-z0-9+.-]*:\/\//i.test(repository);

/**
 * Where a repository lies, in one written form: a folder's path, or a URL's host and path, for servers take many spellings of one. Undefined: a
 * URL that may mean something else than it says. Links are not followed: `real` is given what `resolve` made of a folder.
 */
export function placeOf(repository: string, real: (folder: string) => string = (folder) => folder): string | undefined {
  if (!isUrl(repository)) return real(resolve(repository));
  const url = URL.parse(repository);
  if (url?.search !== '' || url.hash !== '' || /%|\/\/|\\/.test(url.pathname)) return undefined;
  const path = url.pathname.replace(/\/$/, '').replace(/\.git$/i, '');
  return `//${url.hostname}${path}`.toLowerCase();
}

/** The branches that a workstream may work on, as globs, and whether a rule says so at all; what none is about is anyone's. */
export type Branches = { isRuled: boolean; globs: readonly string[] };

/** What the rules say of a place: the one with the longest path counts. */
export function branchesAt(
  rules: readonly RepositoryRule[],
  place: string | undefined,
  workstream: string,
  real?: (folder: string) => string,
): Branches {
  // What cannot be told from another one's is nobody's, as soon as anything is somebody's.
  if (place === undefined) return { isRuled: rules.length > 0, globs: rules.length > 0 ? [] : ['*'] };
  let found: { rule: RepositoryRule; length: number } | undefined;
  for (const rule of rules) {
    const at = placeOf(rule.path, real);
    if (at === undefined) continue;
    // A folder above holds what is in the ones below.
    if (at !== place && isIn(place, at) && !globsOf(rule, workstream).includes('*'))
      return { isRuled: true, globs: [] };
    if (isIn(at, place) && (!found || at.length > found.length)) found = { rule, length: at.length };
  }
  return found ? { isRuled: true, globs: globsOf(found.rule, workstream) } : { isRuled: false, globs: ['*'] };
}

const isIn = (above: string, place: string) =>
  place === above || place.startsWith(above.endsWith('/') ? above : `${above}/`);

function globsOf({ workstreams, branches }: RepositoryRule, workstream: string): readonly string[] {
  if (!isFor(workstreams, workstream)) return [];
  return branches === undefined ? ['*'] : (branches[workstream] ?? branches['*'] ?? []);
}

/** Whether a branch is one of these. */
export const isAmong = ({ globs }: Branches, branch: string): boolean => globs.some((glob) => matches(glob, branch));

/** Whether all branches are. */
export const isWhole = ({ globs }: Branches): boolean => globs.includes('*');
