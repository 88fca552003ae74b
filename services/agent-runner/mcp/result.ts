import type { CallToolResult } from '@modelcontextprotocol/client';
import { shorten, tidy } from './text.ts';

const imagesMax = 4;
const imageBytesMax = 3 * 1024 ** 2;

export type McpResult = { isError: boolean; text: string; images: { mediaType: string; base64: string }[] };

type Part = CallToolResult['content'][number];

/** A tool's answer as a model gets it: texts joined and clipped, pictures as such, all else in words. */
export function readResult(result: CallToolResult, charsMax: number): McpResult {
  const images: McpResult['images'] = [];
  const texts = result.content.map((part) => {
    if (part.type !== 'image') return inWords(part);
    const image = images.length < imagesMax ? readImage(part.data) : `at most ${imagesMax} are shown`;
    if (typeof image === 'string') return `[a picture was left out: ${image}]`;
    images.push(image);
    return undefined;
  });
  const said = texts.filter((text) => text !== undefined);
  if (said.length === 0 && result.structuredContent !== undefined) said.push(inJson(result.structuredContent));
  if (said.length === 0 && images.length === 0) said.push('[the tool answered nothing]');
  return { isError: result.isError === true, text: shorten(said.join('\n'), charsMax), images };
}

function inJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return '[what it answered is nested too deeply]';
  }
}

function inWords(part: Exclude<Part, { type: 'image' }>): string {
  switch (part.type) {
    case 'text':
      return part.text;
    case 'audio':
      return `[audio (${name(part.mimeType)}, ${bytesOf(part.data)} bytes) was left out]`;
    case 'resource_link':
      return `[a link to the resource ${name(part.uri)}: ${name(part.description ?? part.name)}]`;
    case 'resource':
      return 'text' in part.resource
        ? `[resource ${name(part.resource.uri)}]\n${part.resource.text}`
        : `[resource ${name(part.resource.uri)} (${name(part.resource.mimeType ?? 'unknown type')}, ${bytesOf(part.resource.blob)} bytes) was left out]`;
  }
}

const name = (text: string) => tidy(text, 500);
const bytesOf = (base64: string) => Buffer.byteLength(base64, 'base64');

/** Goes by the bytes, not by what the server says they are: a provider refuses a whole conversation for one picture that is none. */
function readImage(data: string): McpResult['images'][number] | string {
  if (bytesOf(data) > imageBytesMax) return `it has more than ${imageBytesMax} bytes`;
  const bytes = Buffer.from(data, 'base64');
  const mediaType = sniff(bytes);
  return mediaType ? { mediaType, base64: bytes.toString('base64') } : 'it is not PNG, JPEG, GIF or WebP';
}

function sniff(bytes: Buffer): string | undefined {
  const starts = bytes.subarray(0, 12).toString('latin1');
  if (starts.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (starts.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (/^GIF8[79]a/.test(starts)) return 'image/gif';
  return /^RIFF....WEBP/s.test(starts) ? 'image/webp' : undefined;
}
