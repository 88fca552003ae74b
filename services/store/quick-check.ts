import { parentPort, workerData } from 'node:worker_threads';
import Sqlite from 'better-sqlite3';

// In a thread of its own: reads every page of the archive, and says what SQLite finds wrong with it.

function check(file: string): string | null {
  try {
    const db = new Sqlite(file, { readonly: true });
    try {
      const found = db.pragma('quick_check(1)', { simple: true });
      return found === 'ok' ? null : String(found);
    } finally {
      db.close();
    }
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

parentPort?.postMessage(check(workerData as string));
