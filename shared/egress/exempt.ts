import { setting } from '#shared/settings.ts';
import { areExemptions } from './rules.ts';

/**
 * EGRESS_EXEMPT: private addresses that agents may reach where their network.allow names them; host:port, address:port or a network, each for
 * all or, written `workstream=…`, for the agents of one workstream.
 */
export const EgressExempt = setting
  .text()
  .refine(
    areExemptions,
    'must be such as "db.lan:5432", "10.0.0.5:443" or "10.0.0.0/8", or for one workstream "docs=10.0.0.5:443", with commas between',
  )
  .optional();
