import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { isSigned } from '#shared/checkpoint.ts';
import { Checkpoint } from '#shared/contracts/store.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { shellOf } from './shell.ts';

export function addAudit(program: Command): void {
  const audit = program
    .command('audit')
    .description('Whether archive and log are what was written')
    .addHelpText(
      'after',
      '\nExamples:\n  toka audit checkpoint > checkpoint-$(date +%F).json      # keep it where nobody of this machine can write\n  toka audit verify --anchor checkpoint-2026-01-31.json',
    );
  audit
    .command('checkpoint')
    .description('Print what the hash chain of all events comes to now, signed: for a place elsewhere')
    .addHelpText('after', '\nExample:\n  toka audit checkpoint > checkpoint.json')
    .action(async (_, command: Command) => {
      const { client, output } = shellOf(command);
      output.text(`${JSON.stringify(await client.getAuditCheckpoint(), undefined, 2)}\n`);
    });
  audit
    .command('verify')
    .description(
      'Compute the hash chain anew, compare it with the log and with a checkpoint; fails where anything is wrong',
    )
    .option('--anchor <file>', 'a checkpoint that was kept elsewhere')
    .addHelpText('after', '\nExamples:\n  toka audit verify\n  toka audit verify --anchor checkpoint.json --json')
    .action(async ({ anchor }: { anchor?: string }, command: Command) => {
      const { client, output } = shellOf(command);
      const kept = anchor === undefined ? undefined : readCheckpoint(anchor);
      const current = kept && (await client.getAuditCheckpoint());
      const found = await client.verifyAudit(kept ? { anchorSeq: kept.seq, anchorHead: kept.chainHead } : {});
      const { log } = found;
      output.one(found, {
        archive: ({ intact, brokenAt, damage }) =>
          intact
            ? 'whole'
            : (damage ?? (brokenAt ? `broken at event ${brokenAt}` : 'not what the last checkpoint says')),
        events: ({ checked }) => checked,
        'chain head': ({ chainHead }) => chainHead,
        log: () =>
          log.differsAt !== null
            ? `event ${log.differsAt} is another`
            : log.missing > 0
              ? `${log.missing} events are missing, the first is ${log.firstMissing}`
              : 'the same as the archive',
        anchor: () => found.anchor && (found.anchor.holds ? `holds at event ${found.anchor.seq}` : 'does not hold'),
        key: () => kept && (kept.publicKey === current?.publicKey ? 'the same as then' : 'another than then'),
      });
      if (!found.intact || log.missing > 0 || log.differsAt !== null || found.anchor?.holds === false)
        process.exitCode = 1;
    });
}

/** Throws `invalid` where it is none, or its signature is not its key's. */
function readCheckpoint(file: string): Checkpoint {
  let kept: Checkpoint;
  try {
    kept = Checkpoint.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    throw new Failure('invalid', `${file} is no checkpoint: ${messageOf(error).slice(0, 200)}`);
  }
  if (!isSigned(kept)) throw new Failure('invalid', `${file} was changed: its signature does not fit`);
  return kept;
}
