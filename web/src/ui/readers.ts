/** The one reader that is open: on this device or on the server, with one model. */

import type { OpenReader, Reader } from '../reader';
import { openServer } from '../server/reader';

export type Where = Reader['where'];

const OPEN: Record<Where, () => Promise<OpenReader>> = {
  device: loadDevice, // large: only when it is wanted
  server: async () => openServer,
};

async function loadDevice(): Promise<OpenReader> {
  try {
    return (await import('../engine/device')).openDevice;
  } catch (error) {
    throw new Error('A part of this page could not be loaded. Reload it and try again.', { cause: error });
  }
}

export class Readers {
  private reader: Reader | null = null;

  /** The reader for a place and a model; another one that was open is closed. Rejects with a message for people. */
  async open(where: Where, model: string, progress: (share: number) => void): Promise<Reader> {
    if (this.reader?.where === where && this.reader.model === model) return this.reader;
    this.close();
    const open = await OPEN[where]();
    this.reader = await open({ model, progress });
    return this.reader;
  }

  /** Frees what the reader holds: the next one starts afresh. */
  close(): void {
    this.reader?.close();
    this.reader = null;
  }
}
