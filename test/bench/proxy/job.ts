import { z } from 'zod';

/** What the load generator is asked to do. */
export const Job = z.object({
  port: z.number().int(),
  headers: z.record(z.string(), z.string()),
  /** With the mark in the place of the request's number. */
  body: z.string(),
  /** The first request's number, and how many there are before they begin anew. */
  first: z.number().int(),
  distinct: z.number().int().min(1),
  stream: z.boolean(),
  /** What heads of answers are counted by, such as `x-toka-cache: hit`. */
  counted: z.string().optional(),
  connections: z.number().int().min(1),
  warmMs: z.number(),
  measureMs: z.number(),
  /** Processes whose processor time is counted while it measures. */
  pids: z.record(z.string(), z.array(z.number().int())),
});
export type Job = z.infer<typeof Job>;

export const Measured = z.object({
  /** All requests that were sent, those before and after the measured time included. */
  sent: z.number(),
  /** Those that were answered within the measured time. */
  requests: z.number(),
  seconds: z.number(),
  p50Ms: z.number(),
  p99Ms: z.number(),
  /** Until the first byte of the body. */
  firstP50Ms: z.number(),
  counted: z.number(),
  cpuMs: z.record(z.string(), z.number()),
});
export type Measured = z.infer<typeof Measured>;

/** Beyond its own time, within which every answer has to come. */
export const graceMs = 10_000;
