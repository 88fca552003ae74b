import { answerOf } from './answer.ts';

// Restate's handler: as many durable steps as it is asked for, each recording what a model's turn records.

type Sdk = {
  service(options: { name: string; handlers: Record<string, (ctx: Step, turns: number) => Promise<unknown>> }): unknown;
  serve(options: { services: unknown[]; port: number }): Promise<number>;
};
type Step = { run<T>(name: string, action: () => T): Promise<T> };

const [sdk = '', name = '', port = ''] = process.argv.slice(2);
const { service, serve } = (await import(sdk)) as Sdk;
const work = service({
  name,
  handlers: {
    async work(ctx, turns) {
      let chars = 0;
      for (let turn = 1; turn <= turns; turn++) {
        const answer = await ctx.run(`turn ${turn}`, () => answerOf(turn < turns ? 'recall' : null));
        chars += answer.text.length;
      }
      return chars;
    },
  },
});
await serve({ services: [work], port: Number(port) });
process.send?.('ready');
process.once('disconnect', () => process.exit());
