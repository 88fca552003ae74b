import { Failure } from '#shared/errors.ts';
import { didYouMean } from '#shared/field-problems.ts';
import { entriesOf, splitName } from './names.ts';
import { createPricing } from './price.ts';
import type { ModelEntry, ModelsFile, Traits } from './schema.ts';
import { openTraits } from './schema.ts';
import type { Endpoint, Target } from './target.ts';

const shownCharsMax = 80;
const keySettings: Record<string, string> = { anthropic: 'ANTHROPIC_API_KEY', openai: 'OPENAI_API_KEY' };

export type Finder = {
  /** Who serves a name: its own endpoints first, then those of each fallback. Never empty. Throws `not-found` with what would do. */
  groupsOf(name: string): Target[][];
  /** The endpoints of a listed model; empty where it cannot be asked here. */
  servedBy(entry: ModelEntry): Target[];
};

/** Finds the endpoints of a name among those that can be asked; what nobody is known to serve is the `provider`'s. */
export function createFinder(file: ModelsFile, endpoints: ReadonlyMap<string, Endpoint>, provider: string): Finder {
  const { models, aliases } = file;
  const standIn = endpoints.get(provider);
  if (!standIn) throw new Failure('invalid', `LLM_PROVIDER=${provider}: it has no key here`);
  const demo = models.find((model) => model.provider === 'demo' && model.id === 'demo');

  const targetAt = (endpoint: Endpoint, name: string, entry?: ModelEntry): Target => {
    // Whatever it is asked for, it is the rules that answer.
    if (endpoint.wire === 'demo') return toTarget(endpoint, 'demo', 'demo', demo);
    const serves = entry !== undefined && endpointsOf(entry).includes(endpoint.name);
    const model = serves && name === entry.id ? (entry.upstream_id ?? name) : name;
    return toTarget(endpoint, model, entry?.id ?? name, entry, serves);
  };
  const atAll = (entry: ModelEntry, name: string) =>
    endpointsOf(entry).flatMap((each) => {
      const endpoint = endpoints.get(each);
      return endpoint ? [targetAt(endpoint, name, entry)] : [];
    });
  /** Of the entries that have this name, the provider's own comes first: only one of them is meant. */
  const listed = (name: string): { entry: ModelEntry; group: Target[] } | undefined => {
    const found = entriesOf(models, name)
      .sort((a, b) => Number(b.provider === provider) - Number(a.provider === provider))
      .map((entry) => ({ entry, group: atAll(entry, name) }));
    return found.find(({ group }) => group.length > 0) ?? found[0];
  };
  const outright = (name: string): Target[] => {
    const rules = name === 'demo' ? endpoints.get(name) : undefined;
    if (rules) return [targetAt(rules, name)];
    const split = splitName(name, (each) => endpoints.has(each));
    const endpoint = split && endpoints.get(split.endpoint);
    if (!split || !endpoint) return [];
    // A listed model is that one by its other name, too, with its price and its limits.
    const isIt = (entry: ModelEntry) => entry.upstream_id === split.model && endpointsOf(entry).includes(endpoint.name);
    return [targetAt(endpoint, split.model, models.find(isIt) ?? entriesOf(models, split.model)[0])];
  };
  const spread = (roots: readonly string[]): Target[][] => {
    const names = [...roots];
    const groups: Target[][] = [];
    for (let at = 0; at < names.length; at++) {
      const name = names[at] ?? '';
      const own = listed(name);
      groups.push(own ? own.group : outright(name));
      for (const fallback of own?.entry.fallbacks ?? []) if (!names.includes(fallback)) names.push(fallback);
    }
    return groups.filter(({ length }) => length > 0);
  };
  return {
    groupsOf(name) {
      const stands = Object.hasOwn(aliases, name) ? aliases[name] : undefined;
      const groups = spread(stands === undefined ? [name] : [stands].flat());
      if (groups.length > 0) return groups;
      if (standIn.wire === 'demo') return [[targetAt(standIn, name)]];
      const isKnown = stands !== undefined || entriesOf(models, name).length > 0 || splitName(name, isGiven);
      if (!isKnown) {
        const guessed = endpoints.get(guess(name) ?? provider) ?? standIn;
        if (mayServe(guessed, name)) return [[targetAt(guessed, name)]];
        throw noModel(`there is no model ${shown(name)}${didYouMean(namesOf(file), name)}`);
      }
      // Behind an address of one's own may be any model; an alias is a name of ours.
      if (stands === undefined && !standIn.official) return [[targetAt(standIn, name)]];
      throw noModel(withoutKey(file, name, stands));
    },
    servedBy: (entry) => atAll(entry, entry.id),
  };
}

const endpointsOf = (entry: ModelEntry): readonly string[] => entry.endpoints ?? [entry.provider];

const isGiven = (name: string) => Object.hasOwn(keySettings, name);

const namesOf = ({ models, aliases }: ModelsFile) => [...Object.keys(aliases), ...models.map(({ id }) => id)];

function guess(name: string): 'anthropic' | 'openai' | undefined {
  if (name.startsWith('claude')) return 'anthropic';
  return /^(gpt|o\d)/.test(name) ? 'openai' : undefined;
}

/** The providers themselves do not have each other's models: that need not be asked. */
const mayServe = ({ official, wire }: Endpoint, name: string) =>
  !official || name.startsWith('claude') === (wire === 'anthropic');

function toTarget(
  endpoint: Endpoint,
  model: string,
  id: string,
  entry: ModelEntry | undefined,
  isPriced = true,
): Target {
  return {
    ...{ endpoint, model, id, isListed: entry !== undefined },
    traits: traitsAt(endpoint, entry ?? openTraits),
    contextWindow: entry?.context_window,
    maxOutputTokens: entry?.max_output_tokens,
    ...createPricing(isPriced ? entry : undefined, placeOf(endpoint)),
  };
}

/** Mistral's own API refuses ids of calls that others take (see `callIdOf`), whatever the model. */
const traitsAt = ({ baseUrl }: Endpoint, traits: Traits): Traits =>
  traits.call_ids === undefined && /^https:\/\/[a-z]+\.mistral\.ai(?:\/|$)/.test(baseUrl)
    ? { ...traits, call_ids: 'nine' }
    : traits;

/**
 * OpenAI charges by the host that is asked, and its usage does not tell where; Anthropic's does. Undefined: not known. Source: OpenAI's
 * guide on data residency, 2026-11-30.
 */
function placeOf({ wire, official, baseUrl }: Endpoint): string | undefined {
  if (wire !== 'openai') return undefined;
  return official ? 'global' : /^https:\/\/([a-z]{2})\.api\.openai\.com(?:\/|$)/.exec(baseUrl)?.[1];
}

function withoutKey({ models }: ModelsFile, name: string, stands: string | string[] | undefined): string {
  const meant = stands === undefined ? [name] : [stands].flat();
  const wanted = meant.flatMap((each) => {
    const entry = entriesOf(models, each)[0];
    return entry ? endpointsOf(entry) : [each.split('/', 1)[0] ?? ''];
  });
  const settings = [...new Set(wanted.map((each) => keySettings[each] ?? each))];
  const models_ = stands === undefined ? '' : `, which stands for ${meant.map(shown).join(', ')},`;
  return `the model ${shown(name)}${models_} is at an endpoint that has no key here; set ${settings.join(' or ')}`;
}

/** A name as a message shows it. */
const shown = (name: string) => JSON.stringify(name.length > shownCharsMax ? `${name.slice(0, shownCharsMax)}…` : name);

const noModel = (message: string): Failure =>
  new Failure('not-found', message, { problems: [{ field: 'model', message }] });
