/** The open backend: at most one, for one mode and model. */

import type { Backend, OpenBackend } from '../backend';
import { openServerBackend } from '../server/backend';

export type Mode = Backend['mode'];

const LOADERS: Record<Mode, () => Promise<OpenBackend>> = {
  // The engine is large; it is loaded on first use.
  device: loadDeviceBackend,
  server: async () => openServerBackend,
};

async function loadDeviceBackend(): Promise<OpenBackend> {
  try {
    return (await import('../device/backend')).openDeviceBackend;
  } catch (error) {
    throw new Error('A part of this page could not be loaded. Reload the page.', { cause: error });
  }
}

export class ActiveBackend {
  private backend: Backend | null = null;

  /** The open backend; null without one. */
  get current(): Backend | null {
    return this.backend;
  }

  /** Return the backend for a mode and model; closes another open one. Rejects with a message for the user. */
  async open(mode: Mode, model: string, progress: (fraction: number) => void): Promise<Backend> {
    if (this.backend?.mode === mode && this.backend.model === model) return this.backend;
    this.close();
    const open = await LOADERS[mode]();
    this.backend = await open({ model, progress });
    return this.backend;
  }

  close(): void {
    this.backend?.close();
    this.backend = null;
  }
}
