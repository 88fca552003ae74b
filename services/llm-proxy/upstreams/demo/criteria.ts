/** Something countable in a document, by the name that a person gives it. */
export type Unit = 'files' | 'words' | 'lines' | 'characters' | 'headings' | 'items';
export type Bound = { unit: Unit; min: number; max: number; said: string };

/** What of a validation can be checked by rules. */
export type Criteria = {
  headings: string[];
  bounds: Bound[];
  /** Of each, one text at least must occur. */
  mentions: string[][];
  forbidden: string[];
};

const partsMax = 20;
const charsMax = 20_000;
const quoted = /"([^"\n]{1,80})"|“([^”\n]{1,80})”|`([^`\n]{1,80})`|(?<!\w)'([^'\n]{1,80})'(?!\w)/;
const anyQuoted = new RegExp(quoted, 'g');
const q = quoted.source.replaceAll(/\((?!\?)/g, '(?:');
const capitalized = String.raw`[A-Z][\w-]*(?: [A-Z][\w-]*)*`;
const list = (name: string) =>
  `(?:${name})(?:(?:\\s*,\\s*(?:and\\s+|or\\s+)?|\\s+(?:and|or|&)\\s+)(?:the\\s+)?(?:${name}))*`;
const headingWord = '[Hh]eadings?|[Ss]ections?|[Cc]hapters?';
const headingLists = new RegExp(
  `\\b(?:${headingWord})(?:\\s+(?:named|called|titled|on|for))?\\s*:?\\s+(${list(q)}|${list(capitalized)})|(${list(q)})\\s+(?:${headingWord})\\b`,
  'g',
);

/** Reads a validation: what it says in a way that the rules understand. The rest is not checked. */
export function criteriaOf(validation: string): Criteria {
  const text = validation.slice(0, charsMax);
  const headings: string[] = [];
  const rest = text.replace(headingLists, (_all, after?: string, before?: string) => {
    headings.push(...namesIn(after ?? before ?? ''));
    return 'heading';
  });
  const clauses = rest.split(/[.;:!?](?=\s|$)|\n|,\s+(?:and|but)\s+|\s+(?:and|but)\s+(?=[a-z])/);
  const { mentions, forbidden } = mentionsIn(clauses);
  return {
    headings: [...new Set(headings)].slice(0, partsMax),
    bounds: boundsIn(text).slice(0, partsMax),
    mentions: mentions.slice(0, partsMax),
    forbidden: forbidden.slice(0, partsMax),
  };
}

const textsIn = (text: string) =>
  [...text.matchAll(anyQuoted)].map(([, ...groups]) => groups.find((group) => group !== undefined) ?? '');

function namesIn(text: string): string[] {
  const names = textsIn(text);
  const all = names.length > 0 ? names : text.split(/\s*,\s*(?:and\s+)?|\s+(?:and|or|&)\s+(?:the\s+)?/);
  return all.map((name) => name.replace(/^[#\s]+/, '').trim()).filter((name) => name !== '');
}

const naming = /\b(?:mention|contain|include|name|list|say|state|quote|show|refer to)(?:s|ing)?\b/i;
const fileName = /(?<![\w./-])[\w/-]{2,}\.[A-Za-z][A-Za-z0-9]{0,5}(?![\w/-])/g;

function mentionsIn(clauses: readonly string[]): Pick<Criteria, 'mentions' | 'forbidden'> {
  const mentions: string[][] = [];
  const forbidden: string[] = [];
  for (const clause of clauses) {
    const at = clause.search(naming);
    if (at < 0) continue;
    const object = clause.slice(at);
    const inQuotes = textsIn(object);
    const texts = inQuotes.length > 0 ? inQuotes : (object.match(fileName) ?? []);
    if (texts.length === 0) continue;
    if (/\b(?:not|never|no|nowhere)\b|n't\b/i.test(clause.slice(0, at)) || /^\w+\s+(?:no|neither)\b/.test(object))
      forbidden.push(...texts);
    else mentions.push(...(/\sor\s/.test(object) ? [texts] : texts.map((each) => [each])));
  }
  return { mentions, forbidden };
}

const numbers = [
  'zero',
  'one',
  'two',
  'three',
  'four',
  'five',
  'six',
  'seven',
  'eight',
  'nine',
  'ten',
  'eleven',
  'twelve',
];
const units: readonly (readonly [Unit, RegExp])[] = [
  ['files', /^(?:files?|paths?|documents?)$/i],
  ['words', /^words?$/i],
  ['lines', /^lines?$/i],
  ['characters', /^(?:characters?|chars?)$/i],
  ['headings', /^(?:headings?|sections?|chapters?)$/i],
  ['items', /^(?:items?|entries|entry|bullets?|points?|rows?)$/i],
];
const number = `\\d{1,7}|${numbers.join('|')}`;
const bounds = new RegExp(
  `\\b(at least|no fewer than|a minimum of|more than|at most|no more than|a maximum of|up to|fewer than|less than|exactly)\\s+(${number})\\s+([\\w-]+)(?:\\s+([\\w-]+))?`,
  'gi',
);

function boundsIn(text: string): Bound[] {
  return [...text.matchAll(bounds)].flatMap(([said, how = '', amount = '', ...nouns]) => {
    const unit = nouns.map((noun) => units.find(([, names]) => names.test(noun ?? ''))?.[0]).find(Boolean);
    if (!unit) return [];
    const word = numbers.indexOf(amount.toLowerCase());
    return [{ unit, ...range(how.toLowerCase(), word >= 0 ? word : Number(amount)), said: said.replace(/\s+/g, ' ') }];
  });
}

function range(how: string, amount: number): Pick<Bound, 'min' | 'max'> {
  switch (how) {
    case 'at least':
    case 'no fewer than':
    case 'a minimum of':
      return { min: amount, max: Infinity };
    case 'more than':
      return { min: amount + 1, max: Infinity };
    case 'exactly':
      return { min: amount, max: amount };
    case 'fewer than':
    case 'less than':
      return { min: 0, max: amount - 1 };
    default:
      return { min: 0, max: amount };
  }
}
