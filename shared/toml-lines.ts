import type { AST } from 'toml-eslint-parser';
import { getStaticTOMLValue, parseTOML } from 'toml-eslint-parser';

type Path = readonly (string | number)[];

/** Finds the line (from 1) of a path such as `['agents', 1, 'priority']` in a TOML text, or of its nearest parent that is written there. */
export function lineFinder(text: string): (path: Path) => number | undefined {
  const lines = new Map<string, number>();
  const note = (path: Path, line: number) => {
    for (let length = path.length; length > 0; length--) {
      const key = JSON.stringify(path.slice(0, length));
      if (!lines.has(key)) lines.set(key, line);
    }
  };
  for (const node of parseTOML(text).body[0].body) {
    if (node.type === 'TOMLTable') {
      note(node.resolvedKey, node.loc.start.line);
      for (const pair of node.body) notePair(pair, node.resolvedKey, note);
    } else notePair(node, [], note);
  }
  return (path) => {
    for (let length = path.length; length > 0; length--) {
      const line = lines.get(JSON.stringify(path.slice(0, length)));
      if (line) return line;
    }
    return undefined;
  };
}

function notePair(pair: AST.TOMLKeyValue, parent: Path, note: (path: Path, line: number) => void): void {
  const path = [...parent, ...getStaticTOMLValue(pair.key)];
  note(path, pair.loc.start.line);
  noteValue(pair.value, path, note);
}

function noteValue(value: AST.TOMLContentNode, path: Path, note: (path: Path, line: number) => void): void {
  if (value.type === 'TOMLArray') {
    for (const [index, element] of value.elements.entries()) {
      note([...path, index], element.loc.start.line);
      noteValue(element, [...path, index], note);
    }
  } else if (value.type === 'TOMLInlineTable') {
    for (const pair of value.body) notePair(pair, path, note);
  }
}
