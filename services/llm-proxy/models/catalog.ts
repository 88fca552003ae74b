import { Failure } from '#shared/errors.ts';
import type { Finder } from './find.ts';
import { createFinder } from './find.ts';
import { byWeight, drawAtRandom, drawFor } from './order.ts';
import type { ModelsFile } from './schema.ts';
import type { Endpoint, ListedModel, Models, Target } from './target.ts';

const nameCharsMax = 200;
const targetsMax = 16;
const plansMax = 2_000;

type Known = {
  file: ModelsFile;
  /** Those that can be asked. */
  endpoints: ReadonlyMap<string, Endpoint>;
  /** Who is asked for what nobody is known to serve. */
  provider: string;
  /** Of those who name none. */
  defaultModel: string;
  /** In [0, 1). */
  random?: () => number;
};

/** Siblings that serve one model, then those of its fallbacks; `only`: all of them, where there is nothing to choose. */
type Plan = { groups: readonly (readonly Target[])[]; only: readonly Target[] | undefined };

/** All that one models.toml says of models, ready to be asked. */
export function createCatalog(known: Known): Pick<Models, 'targets' | 'list' | 'isAlias'> {
  const { file, endpoints, provider, defaultModel, random = Math.random } = known;
  const finder = createFinder(file, endpoints, provider);
  const plans = new Map<string, Plan>();
  const anyhow = drawAtRandom(random);
  const listed = listOf(file, finder);

  const planOf = (name: string): Plan => {
    const ready = plans.get(name);
    if (ready) return ready;
    if (name === '' || name.length > nameCharsMax)
      throw new Failure('invalid', `model: must be a model's name, of at most ${nameCharsMax} characters`);
    const plan = toPlan(finder.groupsOf(name));
    // Clients may name anything.
    if (plans.size >= plansMax) plans.clear();
    plans.set(name, plan);
    return plan;
  };
  return {
    targets(name, affinity) {
      const { only, groups } = planOf(name ?? defaultModel);
      if (only) return only;
      const draw = affinity === undefined ? anyhow : drawFor(affinity);
      return groups.flatMap((group) => (group.length > 1 ? byWeight(group, draw) : group)).slice(0, targetsMax);
    },
    list: () => listed,
    isAlias: (name) => Object.hasOwn(file.aliases, name),
  };
}

/** An endpoint is asked for one model once, however often it is named. */
function toPlan(all: readonly (readonly Target[])[]): Plan {
  const seen = new Set<string>();
  const isNew = ({ endpoint, model }: Target) => {
    const key = `${endpoint.name}/${model}`;
    return !seen.has(key) && seen.add(key);
  };
  const groups = all.map((group) => group.filter(isNew)).filter(({ length }) => length > 0);
  const only = groups.every(({ length }) => length === 1) ? groups.flat().slice(0, targetsMax) : undefined;
  return { groups, only };
}

/** The models that can be asked, each id once. */
function listOf({ models, aliases }: ModelsFile, { groupsOf, servedBy }: Finder): ListedModel[] {
  const served = models.map((entry) => ({ entry, targets: servedBy(entry) })).filter(({ targets }) => targets[0]);
  const ids = new Map(served.toReversed().map((each) => [each.entry.id, each]));
  const firstIdOf = (alias: string) => {
    try {
      return groupsOf(alias)[0]?.[0]?.id;
    } catch {
      return undefined; // none of its models can be asked here
    }
  };
  const firsts = Object.keys(aliases).map((alias) => ({ alias, id: firstIdOf(alias) }));
  return [...ids.values()].toReversed().map(({ entry, targets }) => ({
    id: entry.id,
    provider: entry.provider,
    contextWindow: entry.context_window,
    maxOutputTokens: entry.max_output_tokens,
    aliases: firsts.flatMap(({ alias, id }) => (id === entry.id ? [alias] : [])),
    endpoints: targets.map(({ endpoint }) => endpoint.name),
  }));
}
