import type { Context } from 'koa';
import * as api from '#shared/contracts/api/runs.ts';
import type { ArtifactRef, NamedArtifact } from '#shared/contracts/artifact.ts';
import type { RunView } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import type { TenantBus } from '../tenant-bus.ts';
import { readRun } from './read-run.ts';

const mediaType = /^[a-z]+\/[\w.+-]{1,100}(; ?charset=[\w-]{1,40})?$/i;

/** What runs leave behind: what they handed in, files that they keep, and what they changed. */
export const artifactRoutes: readonly Route[] = [
  route({
    ...api.listArtifacts,
    handle: async ({ params: { id }, query, bus }) => ({ items: artifactsOf(await readRun(bus, id, query.minSeq)) }),
  }),
  route({
    ...api.getArtifact,
    async handle({ params: { id, name }, query, bus, ctx }) {
      const found = artifactsOf(await readRun(bus, id, query.minSeq)).find((artifact) => artifact.name === name);
      if (!found) throw new Failure('not-found', `the run has no artifact ${JSON.stringify(name.slice(0, 200))}`);
      const bytes = await fetchKept(bus, found.artifact, `${JSON.stringify(name.slice(0, 200))} of run ${id}`);
      return attach(ctx, bytes, name.split('/').at(-1) ?? name, found.mediaType);
    },
  }),
  route({
    ...api.getDiff,
    async handle({ params: { id }, query, bus, ctx }) {
      const { workspace, endedAt } = await readRun(bus, id, query.minSeq);
      if (workspace?.diff) {
        const bytes = await fetchKept(bus, workspace.diff, `what run ${id} changed`);
        return attach(ctx, bytes, `${id}.diff`, 'text/x-diff');
      }
      throw new Failure(
        'not-found',
        endedAt ? 'the run has changed nothing' : 'the run has not ended: its diff is made at its end',
      );
    },
  }),
];

/** Throws `gone`, and says why, for what was once there. */
const fetchKept = ({ artifacts }: TenantBus, ref: ArtifactRef, what: string): Promise<Buffer> =>
  artifacts.get(ref).catch((cause) => {
    if (!(cause instanceof Failure && cause.code === 'gone')) throw cause;
    const why = 'deliverables are kept for DELIVERABLES_MAX_AGE days';
    throw new Failure('gone', `${what} is no longer kept: ${why}`, { cause });
  });

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
