import { parse, TomlError } from 'smol-toml';
import type { Problem } from '#shared/errors.ts';
import { messageOf } from '#shared/errors.ts';
import type { Located, Path } from '#shared/field-problems.ts';
import { describe } from '#shared/field-problems.ts';
import { lineFinder } from '#shared/toml-lines.ts';
import { ModelsFile } from './schema.ts';

type Parsed = { file: ModelsFile; problems: [] } | { file: undefined; problems: Problem[] };

/** Parses the text of a models.toml; `check` finds what is wrong between its parts. Answers the file, or every problem with its line. */
export function parseModelsFile(text: string, check: (file: ModelsFile) => Located[]): Parsed {
  let tree: unknown;
  try {
    tree = parse(text);
  } catch (error) {
    return { file: undefined, problems: [notToml(error)] };
  }
  const parsed = ModelsFile.safeParse(tree);
  const problems = parsed.success
    ? check(parsed.data)
    : parsed.error.issues.flatMap((issue) => describe(issue, ModelsFile, tree));
  if (parsed.success && problems.length === 0) return { file: parsed.data, problems: [] };
  const lineOf = linesOf(text);
  return {
    file: undefined,
    problems: problems.map(({ path, message }) => ({ field: fieldName(path), message, line: lineOf(path) })),
  };
}

function notToml(error: unknown): Problem {
  const [first = ''] = messageOf(error).split('\n');
  const message = `is not TOML: ${first.replace(/^Invalid TOML document: /, '')}`;
  return { field: 'the file', message, line: error instanceof TomlError ? error.line : undefined };
}

/** The two parsers may differ about rare TOML: a problem without its line is still one. */
function linesOf(text: string): (path: Path) => number | undefined {
  try {
    return lineFinder(text);
  } catch {
    return () => undefined;
  }
}

/** `models[2].id`, as people count: from 1. */
const fieldName = (path: Path) =>
  path.map((part, index) => (typeof part === 'number' ? `[${part + 1}]` : `${index ? '.' : ''}${part}`)).join('') ||
  'the file';

/** One line for a problem: `MODELS_FILE config/models.toml:12: models[1].provider: is "mistral"; it takes …`. */
export const problemLine = (file: string, { field, message, line }: Problem): string =>
  `MODELS_FILE ${file}${line ? `:${line}` : ''}: ${field}: ${message}`;
