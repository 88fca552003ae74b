import type { Located, Path } from '#shared/field-problems.ts';
import { didYouMean } from '#shared/field-problems.ts';
import { entriesOf, splitName } from './names.ts';
import type { ModelsFile } from './schema.ts';

/** The endpoints that are there without the file. */
const given: readonly string[] = ['anthropic', 'openai', 'demo'];

/** What is wrong between the parts of a models.toml. `isSet`: whether the environment holds a variable, or a file for it. */
export function checkModelsFile(file: ModelsFile, isSet: (variable: string) => boolean): Located[] {
  return [
    ...endpointProblems(file, isSet),
    ...modelProblems(file),
    ...aliasProblems(file),
    ...cycleProblems(file),
    ...ruleProblems(file),
  ];
}

function endpointProblems({ endpoints }: ModelsFile, isSet: (variable: string) => boolean): Located[] {
  const problems: Located[] = [];
  for (const [index, { name, api_key }] of endpoints.entries()) {
    const first = endpoints.findIndex((other) => other.name === name);
    const at = (field: string): Path => ['endpoints', index, field];
    if (given.includes(name))
      problems.push({ path: at('name'), message: `"${name}" is there without this file; choose another name` });
    else if (first < index)
      problems.push({ path: at('name'), message: `"${name}" is the name of endpoints[${first + 1}] already` });
    if (api_key !== undefined && !isSet(api_key)) {
      const message = `the variable ${api_key} is not set; set it, or ${api_key}_FILE to a file that holds the key`;
      problems.push({ path: at('api_key'), message });
    }
  }
  return problems;
}

function modelProblems({ models, endpoints }: ModelsFile): Located[] {
  const problems: Located[] = [];
  const names = [...given, ...endpoints.map(({ name }) => name)];
  const firsts = new Map<string, number>();
  for (const [index, model] of models.entries()) {
    const key = `${model.provider} ${model.id}`;
    const first = firsts.get(key);
    firsts.set(key, first ?? index);
    if (first !== undefined)
      problems.push({ path: ['models', index, 'id'], message: `"${model.id}" is models[${first + 1}] already` });
    for (const [place, endpoint] of (model.endpoints ?? []).entries()) {
      if (names.includes(endpoint)) continue;
      const message = `"${endpoint}" is no endpoint${didYouMean(names, endpoint)}`;
      problems.push({ path: ['models', index, 'endpoints', place], message });
    }
  }
  return problems;
}

/** What may stand where another model is named: an id of the file, or `endpoint/model`. */
function createLookUp({ models, endpoints }: ModelsFile): (name: string) => string | undefined {
  const ids = [...new Set(models.map(({ id }) => id))];
  const isEndpoint = (name: string) => given.includes(name) || endpoints.some((endpoint) => endpoint.name === name);
  return (name) =>
    splitName(name, isEndpoint) || entriesOf(models, name).length > 0
      ? undefined
      : `"${name}" is neither a model of this file nor written endpoint/model${didYouMean(ids, name)}`;
}

function aliasProblems(file: ModelsFile): Located[] {
  const problems: Located[] = [];
  const wrong = createLookUp(file);
  for (const [alias, value] of Object.entries(file.aliases)) {
    const path = ['aliases', alias];
    if (alias === 'demo' || file.models.some(({ id }) => id === alias))
      problems.push({ path, message: `"${alias}" is a model's id as well; choose another alias` });
    for (const [place, target] of [value].flat().entries()) {
      const unknown = wrong(target);
      const isAlias = unknown !== undefined && Object.hasOwn(file.aliases, target);
      const message = isAlias ? `"${target}" is an alias itself; name its models` : unknown;
      if (message) problems.push({ path: Array.isArray(value) ? [...path, place] : path, message });
    }
  }
  return problems;
}

/** Unknown fallbacks, and those that lead back to where they began: nobody would know in which order they are tried. */
function cycleProblems(file: ModelsFile): Located[] {
  const problems: Located[] = [];
  const wrong = createLookUp(file);
  const next = new Map<string, Set<string>>();
  const idOf = (name: string) => entriesOf(file.models, name)[0]?.id ?? name;
  for (const { id, fallbacks } of file.models) next.set(id, new Set([...(next.get(id) ?? []), ...fallbacks.map(idOf)]));
  for (const [index, { id, fallbacks }] of file.models.entries()) {
    for (const [place, fallback] of fallbacks.entries()) {
      const way = wayTo(next, idOf(fallback), id);
      const message = wrong(fallback) ?? (way && `leads in a circle: ${[id, ...way].join(' -> ')}`);
      if (message) problems.push({ path: ['models', index, 'fallbacks', place], message });
    }
  }
  return problems;
}

/** The shortest way from one model over fallbacks to another, both included. */
function wayTo(next: ReadonlyMap<string, ReadonlySet<string>>, from: string, to: string): string[] | undefined {
  const ways = [[from]];
  const seen = new Set([from]);
  for (let way = ways.shift(); way; way = ways.shift()) {
    const last = way.at(-1) ?? '';
    if (last === to) return way;
    for (const each of next.get(last) ?? []) {
      if (seen.has(each)) continue;
      seen.add(each);
      ways.push([...way, each]);
    }
  }
  return undefined;
}

function ruleProblems({ limits, budgets, endpoints, aliases }: ModelsFile): Located[] {
  const names = [...given, ...endpoints.map(({ name }) => name)];
  const wrong = ({ by, match }: { by: string; match: string }) => {
    if (match === '*') return undefined;
    if (by === 'endpoint' && !names.includes(match)) return `"${match}" is no endpoint${didYouMean(names, match)}`;
    if (by === 'model' && Object.hasOwn(aliases, match))
      return `"${match}" is an alias; name the model that it stands for`;
    return undefined;
  };
  return Object.entries({ limits, budgets }).flatMap(([list, entries]) =>
    entries.flatMap((entry, index) => {
      const message = wrong(entry);
      return message ? [{ path: [list, index, 'match'], message }] : [];
    }),
  );
}
