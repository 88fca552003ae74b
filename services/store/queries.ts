import type { Bus } from '#shared/bus/bus.ts';
import type { ApprovalView, EventView, Memory, StepView } from '#shared/contracts/store.ts';
import * as store from '#shared/contracts/store.ts';
import type { Agent } from '#shared/domain/agent.ts';
import type { Key } from '#shared/domain/key.ts';
import { keyView } from '#shared/domain/key.ts';
import type { Run } from '#shared/domain/run.ts';
import { agentView, runView } from '#shared/domain/views.ts';
import type { Webhook } from '#shared/domain/webhook.ts';
import { webhookView } from '#shared/domain/webhook.ts';
import { Failure } from '#shared/errors.ts';
import { listStatus } from './agent-status.ts';
import type { Archive } from './archive.ts';
import type { Audit } from './audit.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { Guard } from './guard.ts';
import type { Inlet } from './inlet.ts';
import { selectListed } from './listed.ts';
import { logPage } from './log-page.ts';
import { pageOf } from './page.ts';
import { isOfLife, searchMemory, selectApproval, selectApprovals, selectMemories } from './people.ts';
import type { Filters, StateRow } from './select.ts';
import { select, selectEvents, selectState, selectSteps, selectUsage } from './select.ts';
import { isWithin, listOf, within } from './tenancy.ts';
import type { Answer } from './whole-queries.ts';
import { answerWhole } from './whole-queries.ts';

/** Answers every question of shared/contracts/store.ts, once the archive holds what the asker has written. */
export function answerQueries(
  bus: Bus,
  archive: Archive,
  guard: Pick<Guard, 'isOurs'>,
  inlet: Pick<Inlet, 'reach' | 'state'>,
  audit: Audit,
  checkpoints: Checkpoints,
): void {
  const answer: Answer = (contract, handle) =>
    bus.answer(contract, async (question) => {
      if (question.minSeq !== undefined) await inlet.reach(question.minSeq);
      return handle(question);
    });
  answerStates(archive, answer);
  answerPeople(archive, answer);
  answerListed(archive, answer);
  answerHistory(archive, answer);
  answerWhole(archive, answer, inlet, audit, checkpoints);
  bus.answer(store.readLog, ({ holds, ...question }) => {
    if (!guard.isOurs()) throw new Failure('unavailable', 'the archive is not known to be that of the log');
    if (holds > archive.seq)
      throw new Failure('unavailable', `the archive is at ${archive.seq} and not yet at ${holds}`);
    return { ...logPage(archive.db, question), seq: archive.seq };
  });
}

function answerStates({ db }: Archive, answer: Answer): void {
  answer(store.listAgents, ({ limit, cursor, status, workstreams, ...of }) => {
    const own = { [within.state]: listOf(workstreams) };
    const filters = { 'id >': cursor, 'status <>': 'removed', 'status =': status, ...placeOf(of), ...own };
    return page(select(db, 'agents', filters, 'ASC', limit), limit, agentView);
  });
  answer(store.getAgent, ({ id, workstreams }) => {
    const agent = selectState<Agent>(db, 'agents', id);
    if (!agent || agent.status === 'removed' || !isWithin(workstreams, agent.spec.workstream))
      throw new Failure('not-found', `there is no agent "${id}"`);
    return agentView(agent);
  });
  answer(store.listAgentStatus, ({ workstreams }) => listStatus(db, workstreams));
  answer(store.listRuns, ({ limit, cursor, agentId, status, since, until, workstreams, ...of }) => {
    const own = { [within.state]: listOf(workstreams) };
    const times = { 'queued >=': since, 'queued <': until };
    const filters = { 'id <': cursor, 'agent =': agentId, 'status =': status, ...times, ...placeOf(of), ...own };
    return page(select(db, 'runs', filters, 'DESC', limit), limit, runView);
  });
  answer(store.getRun, ({ id, workstreams }) => {
    const run = selectState<Run>(db, 'runs', id);
    if (!run || !isWithin(workstreams, run.definition.workstream))
      throw new Failure('not-found', `there is no run "${id}"`);
    return runView(run);
  });
}

type Place = { workstream?: string | undefined; domain?: string | undefined; priority?: string | undefined };

const placeOf = ({ workstream, domain, priority }: Place): Filters => ({
  'workstream =': workstream,
  'domain =': domain,
  'priority =': priority,
});

function answerPeople({ db }: Archive, answer: Answer): void {
  answer(store.listApprovals, ({ limit, cursor, open, runId, agentId, workstreams }) => {
    const filters = {
      'id <': cursor,
      'open =': open === undefined ? undefined : Number(open),
      'run =': runId,
      'agent =': agentId,
      [within.approvals]: listOf(workstreams),
    };
    return pageOf(selectApprovals(db, filters, limit), limit, {
      textOf: ({ state }) => state,
      cursorOf: ({ id }) => id,
      itemOf: (_, view) => view as ApprovalView,
    });
  });
  answer(store.getApproval, ({ id, workstreams }) => {
    const approval = selectApproval(db, id);
    if (!approval || !isWithin(workstreams, approval.workstream))
      throw new Failure('not-found', `there is no approval "${id}"`);
    return approval;
  });
  const living = (id: string, workstreams: string[] | undefined): Agent => {
    const agent = selectState<Agent>(db, 'agents', id);
    if (!agent || agent.status === 'removed' || !isWithin(workstreams, agent.spec.workstream))
      throw new Failure('not-found', `there is no agent "${id}"`);
    return agent;
  };
  answer(store.recallMemory, ({ agentId, runId, query, limit, workstreams }) => {
    const agent = selectState<Agent>(db, 'agents', agentId);
    if (workstreams && !isWithin(workstreams, agent?.spec.workstream)) return [];
    if (runId !== undefined && !isOfLife(agent, selectState<Run>(db, 'runs', runId))) return [];
    return searchMemory(db, agentId, query, limit);
  });
  answer(store.listMemories, ({ agentId, limit, cursor, workstreams }) => {
    living(agentId, workstreams);
    const filters = { 'agent =': agentId, 'number <': cursor === undefined ? undefined : numberOf(cursor) };
    return pageOf(selectMemories(db, filters, limit), limit, {
      textOf: ({ view }) => view,
      cursorOf: ({ number }) => number,
      itemOf: (_, view) => view as Memory,
    });
  });
  answer(store.getMemory, ({ agentId, id, workstreams }) => {
    living(agentId, workstreams);
    const [found] = selectMemories(db, { 'agent =': agentId, 'id =': id }, 1);
    if (!found) throw new Failure('not-found', `agent "${agentId}" has no memory "${id}"`);
    return JSON.parse(found.view);
  });
}

function answerListed({ db }: Archive, answer: Answer): void {
  const filtersOf = ({ cursor, workstreams }: { cursor?: string | undefined; workstreams?: string[] | undefined }) => ({
    'began <': cursor === undefined ? undefined : numberOf(cursor),
    [within.listed]: listOf(workstreams),
  });
  const columnsOf = <S, V>(viewOf: (state: S) => V) => ({
    textOf: ({ state }: { state: string }) => state,
    cursorOf: ({ began }: { began: number }) => began,
    itemOf: (_: unknown, state: unknown) => viewOf(state as S),
  });
  answer(store.listKeys, ({ limit, ...question }) => {
    const nowMs = Date.now();
    const rows = selectListed(db, 'keys', filtersOf(question), limit);
    return pageOf(
      rows,
      limit,
      columnsOf((key: Key) => keyView(key, nowMs)),
    );
  });
  answer(store.listWebhooks, ({ limit, ...question }) => {
    const filters = { ...filtersOf(question), "json_extract(state, '$.state') <>": 'deleted' };
    return pageOf(
      selectListed(db, 'webhooks', filters, limit),
      limit,
      columnsOf<Webhook, store.WebhookView>(webhookView),
    );
  });
  answer(store.getKey, ({ id, workstreams }) => {
    const key = selectState<Key>(db, 'keys', id);
    if (!key || !isWithin(workstreams, key.workstream)) throw new Failure('not-found', `there is no key "${id}"`);
    return keyView(key, Date.now());
  });
}

function answerHistory(archive: Archive, answer: Answer): void {
  const { db } = archive;
  answer(store.listSteps, ({ runId, limit, cursor, workstreams }) => {
    const isOwn = !workstreams || isWithin(workstreams, selectState<Run>(db, 'runs', runId)?.definition.workstream);
    return pageOf(isOwn ? selectSteps(db, runId, numberOf(cursor), limit) : [], limit, {
      textOf: ({ view }) => view,
      cursorOf: ({ step }) => step,
      itemOf: (_, view) => view as StepView,
    });
  });
  answer(store.listEvents, ({ limit, cursor, subject, type, workstreams }) => {
    const filters = { 'seq >': numberOf(cursor), 'subject =': subject, 'type =': type };
    return pageOf(selectEvents(db, { ...filters, [within.events]: listOf(workstreams) }, limit), limit, {
      textOf: ({ bytes }) => bytes.toString('utf8'),
      cursorOf: ({ seq }) => seq,
      itemOf: ({ seq }, event) => ({ ...(event as object), seq }) as EventView,
    });
  });
  answer(store.listUsage, (question) => selectUsage(db, question));
}

const page = <S, V>(rows: StateRow[], limit: number, viewOf: (state: S) => V) =>
  pageOf(rows, limit, {
    textOf: ({ state }) => state,
    cursorOf: ({ id }) => id,
    itemOf: (_, state) => viewOf(state as S),
  });

function numberOf(cursor: string | undefined): number {
  if (cursor === undefined) return 0;
  if (!/^\d{1,15}$/.test(cursor)) throw new Failure('invalid', 'cursor: is not one that an earlier page gave');
  return Number(cursor);
}
