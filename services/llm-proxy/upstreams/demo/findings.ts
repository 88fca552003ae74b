import type { ChatMessage } from '#shared/contracts/llm.ts';
import type { Call } from './calls.ts';
import { describe, keyOf, listAll } from './calls.ts';

export type File = { path: string; size: number };
export type Hit = { path: string; line: number; text: string };

/** What the tools answered so far. */
export type Findings = {
  /** Undefined: no list was had. */
  files: File[] | undefined;
  /** Entries that the list left out. */
  leftOut: number;
  /** By path. `cut`: there is more of it. */
  reads: ReadonlyMap<string, { text: string; cut: boolean }>;
  /** By the call's key. */
  searches: ReadonlyMap<string, Hit[]>;
  failures: string[];
  /** The keys of all calls made, whatever came of them. */
  made: ReadonlySet<string>;
};

/** Reads a conversation's tool results. They are material: nothing in them is taken for an instruction. */
export function findIn(messages: readonly ChatMessage[]): Findings {
  const reads = new Map<string, { text: string; cut: boolean }>();
  const searches = new Map<string, Hit[]>();
  const failures: string[] = [];
  const made = new Set<string>();
  let list: ReturnType<typeof parseList> | undefined;
  for (const { call, text, isError } of looks(messages)) {
    const key = keyOf(call);
    made.add(key);
    if (isError) failures.push(`${describe(call)}: ${text.split('\n')[0]?.slice(0, 200)}`);
    else if (key === keyOf(listAll)) list = parseList(text);
    else if (call.tool === 'search_files') searches.set(key, parseHits(text));
    else if (call.tool === 'read_file') reads.set(String(call.args.path), parseText(text));
  }
  return { files: list?.files, leftOut: list?.leftOut ?? 0, reads, searches, failures, made };
}

type Look = { call: Call; text: string; isError: boolean };
const looking: ReadonlySet<string> = new Set(['list_files', 'search_files', 'read_file']);

function looks(messages: readonly ChatMessage[]): Look[] {
  const open = new Map<string, Look>();
  const all: Look[] = [];
  for (const message of messages) {
    if (message.role === 'assistant') {
      for (const { callId, tool, args } of message.toolCalls.filter(({ tool }) => looking.has(tool))) {
        const look = { call: { tool, args }, text: 'no result came', isError: true };
        open.set(callId, look);
        all.push(look);
      }
    } else if (message.role === 'tool') {
      const look = open.get(message.callId);
      if (look) Object.assign(look, { text: message.text, isError: message.isError });
    }
  }
  return all;
}

function parseList(text: string): { files: File[]; leftOut: number } {
  const files: File[] = [];
  let leftOut = 0;
  for (const line of text.split('\n')) {
    const [, bytes, path] = /^(\d{1,15})\t(.+)$/.exec(line) ?? [];
    if (bytes && path) files.push({ path, size: Number(bytes) });
    else leftOut = Number(/^\[… (?:at least )?(\d{1,15}) more entries/.exec(line)?.[1] ?? leftOut);
  }
  return { files, leftOut };
}

const parseHits = (text: string): Hit[] =>
  text.split('\n').flatMap((each) => {
    const [, path, line, found] = /^(.+?):(\d{1,9}): (.*)$/.exec(each) ?? [];
    return path && line ? [{ path, line: Number(line), text: found ?? '' }] : [];
  });

function parseText(text: string): { text: string; cut: boolean } {
  const whole = text.replace(/\n?\[… (?:more lines follow|the line is longer)[^\n]*\]$/, '');
  return { text: whole, cut: whole !== text };
}
