import { Failure } from '#shared/errors.ts';

/** A text of the model's as it may be shown back: short, on one line. */
export const quote = (text: string) => JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);

/** The code of a system error, such as ENOENT. */
export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

const meanings: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder; see what there is with list_files',
  ENOTDIR: 'a part of the path is not a folder',
  EISDIR: 'it is a folder; see it with list_files',
  ELOOP: 'it is or goes through a symbolic link',
  ENXIO: 'it is not a regular file',
  EACCES: 'it may not be opened',
  EPERM: 'it may not be changed',
  EROFS: 'the workspace is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk is full',
  EFBIG: 'the file is too large',
  ENAMETOOLONG: 'the name is too long',
  EMFILE: 'too many files are open',
  ERR_ACCESS_DENIED: 'this agent may not do that here',
};

/** What went wrong with a path, for the model. The system's own message would show paths of the host. */
export function explain(error: unknown, path: string): Failure {
  if (error instanceof Failure) return error;
  const code = codeOf(error);
  if (code === undefined) throw error;
  return new Failure('invalid', `${quote(path)}: ${meanings[code] ?? `it could not be used (${code})`}`);
}
