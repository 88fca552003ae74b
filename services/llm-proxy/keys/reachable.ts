import { Failure } from '#shared/errors.ts';
import type { Models, Target } from '../models/target.ts';
import type { Key } from './keyring.ts';

/**
 * Whom a key's call may go to: of a model's fallbacks, and of what an alias stands for, the models that the key may use. An alias that the key
 * names outright, and not by a pattern, lets it use the first model that this stands for. Throws `forbidden` where none is left.
 */
export function reachable(models: Pick<Models, 'targets' | 'isAlias'>, key: Key, name: string): readonly Target[] {
  const left = allowed(models, key, name);
  if (left.length > 0) return left;
  throw new Failure('forbidden', `this key may use none of the models that "${name}" stands for`);
}

/** Whether a key's call for a name that it may use can go to anyone. */
export const mayReach = (models: Pick<Models, 'targets' | 'isAlias'>, key: Key, name: string): boolean =>
  key.models.length === 0 || (key.allowsModel(name) && allowed(models, key, name).length > 0);

function allowed(models: Pick<Models, 'targets' | 'isAlias'>, key: Key, name: string): readonly Target[] {
  const targets = models.targets(name);
  if (key.models.length === 0) return targets;
  // Any other name that the key may use is the model's own.
  const isOwn = key.models.includes(name) || !models.isAlias(name);
  const own = isOwn ? targets[0]?.id : undefined;
  return targets.filter(({ id }) => id === own || key.allowsModel(id));
}
