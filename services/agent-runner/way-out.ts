import { covers } from '#shared/domain/capabilities.ts';
import { grantsOf, mayReachOut } from '#shared/domain/grants.ts';
import { exemptionsFor } from '#shared/egress/rules.ts';
import { Failure } from '#shared/errors.ts';
import type { Config } from './config.ts';
import { refuse } from './egress/answer.ts';
import type { Egress } from './egress/egress.ts';
import { openEgress } from './egress/egress.ts';
import type { Runner } from './execute.ts';
import type { Journal } from './journal.ts';

/** Private addresses that whoever runs Toka lets a workstream's agents reach. */
export const exemptOf = ({ EGRESS_EXEMPT }: Config, workstream: string): string[] =>
  exemptionsFor(EGRESS_EXEMPT, workstream);

/** The way out, for agents that may have one at all; what is refused on it goes to the log and a metric. */
export function wayOutOf({ config, logger, metrics }: Runner, journal: Journal): Egress | undefined {
  const { run } = journal;
  const { primary, secondary } = grantsOf(run.definition);
  if (!covers(primary, 'network-access') && !covers(secondary, 'network-access')) return undefined;
  const egress = openEgress({
    allow: run.definition.network.allow,
    exempt: exemptOf(config, run.definition.workstream),
    denied: ({ host, port, reason }) => {
      metrics.egressDenied.inc({ agent: metrics.agentLabel(run.agentId) });
      logger.warn({ runId: run.id, agent: run.agentId, host, port, reason }, 'a connection to the outside was refused');
    },
  });
  return {
    ...egress,
    // A program in the sandbox connects whenever it likes: what people have said by then counts.
    serve(connection) {
      if (mayReachOut(journal.run, config.CAPABILITY_VALIDATION)) return egress.serve(connection);
      connection.on('error', () => undefined);
      metrics.egressDenied.inc({ agent: metrics.agentLabel(run.agentId) });
      logger.warn(
        { runId: run.id, agent: run.agentId },
        'a connection to the outside was refused: nobody has approved it',
      );
      return refuse(connection, new Failure('forbidden', notApproved));
    },
  };
}

const notApproved =
  'Nobody has approved network-access in this run. Call http_fetch, for which a person is asked, and try again.';
