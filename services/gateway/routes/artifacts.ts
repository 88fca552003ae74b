import type { Context } from 'koa';
import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { NamedArtifact } from '#shared/contracts/artifact.ts';
import { RunId } from '#shared/contracts/ids.ts';
import type { RunView } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import { seqQuery } from '../paging.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import { readRun } from './read-run.ts';

const params = z.object({ id: RunId });
const mediaType = /^[a-z]+\/[\w.+-]{1,100}(; ?charset=[\w-]{1,40})?$/i;

/** What runs leave behind: what they handed in, files that they keep, and what they changed. */
export const artifactRoutes = (bus: Bus): Route[] => [
  route({
    method: 'get',
    path: '/runs/:id/artifacts',
    scope: 'runs:read',
    summary: 'What a run handed in, and the files that it keeps',
    params,
    query: seqQuery,
    answer: z.object({ items: z.array(NamedArtifact.extend({ summary: z.string().optional() })) }),
    handle: async ({ params: { id }, query }) => ({ items: artifactsOf(await readRun(bus, id, query.minSeq)) }),
  }),
  route({
    method: 'get',
    path: '/runs/:id/artifacts/:name',
    scope: 'runs:read',
    summary: 'The bytes of what a run handed in or keeps; a name with folders in it is percent-encoded',
    params: params.extend({ name: z.string().min(1).max(4_096) }),
    query: seqQuery,
    answer: { mediaType: 'application/octet-stream' },
    async handle({ params: { id, name }, query, ctx }) {
      const found = artifactsOf(await readRun(bus, id, query.minSeq)).find((artifact) => artifact.name === name);
      if (!found) throw new Failure('not-found', `the run has no artifact ${JSON.stringify(name.slice(0, 200))}`);
      const bytes = await bus.artifacts.get(found.artifact);
      return attach(ctx, bytes, name.split('/').at(-1) ?? name, found.mediaType);
    },
  }),
  route({
    method: 'get',
    path: '/runs/:id/diff',
    scope: 'runs:read',
    summary: 'What a run changed in its workspace, as a patch',
    params,
    query: seqQuery,
    answer: { mediaType: 'text/x-diff' },
    async handle({ params: { id }, query, ctx }) {
      const { workspace, endedAt } = await readRun(bus, id, query.minSeq);
      if (workspace?.diff) return attach(ctx, await bus.artifacts.get(workspace.diff), `${id}.diff`, 'text/x-diff');
      throw new Failure(
        'not-found',
        endedAt ? 'the run has changed nothing' : 'the run has not ended: its diff is made at its end',
      );
    },
  }),
];

function artifactsOf({ deliverable, workspace }: RunView): (NamedArtifact & { summary?: string })[] {
  const kept = workspace?.artifacts.filter(({ name }) => name !== deliverable?.name) ?? [];
  return [...(deliverable ? [deliverable] : []), ...kept];
}

/** An agent made it: a browser must not take it for a page of ours. */
function attach(ctx: Context, bytes: Buffer, name: string, type: string): Buffer {
  ctx.set('Content-Security-Policy', "default-src 'none'; sandbox");
  ctx.attachment(name);
  ctx.type = mediaType.test(type) ? type : 'application/octet-stream';
  return bytes;
}
