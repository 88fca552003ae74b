import type { z } from 'zod';
import { CommonConfig, setting } from '#shared/settings.ts';

export const Config = CommonConfig.extend({
  /** The SQLite file; its folder is made where it is missing. */
  DATABASE_FILE: setting.text().default('.toka/store/toka.sqlite'),
});
export type Config = z.output<typeof Config>;
