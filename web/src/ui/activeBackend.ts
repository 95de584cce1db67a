/** The open backend: at most one, for one mode and model. */

import type { Backend, OpenBackend, OpenOptions } from '../backend';
import { openServerBackend } from '../server/backend';
import { loadPart } from './parts';

export type Mode = Backend['mode'];

const LOADERS: Record<Mode, () => Promise<OpenBackend>> = {
  // The engine is large; it is loaded on first use.
  device: async () => (await loadPart(import('../device/backend'))).openDeviceBackend,
  server: async () => openServerBackend,
};

export class ActiveBackend {
  private backend: Backend | null = null;
  private actionUnits = false;

  /** The open backend; null without one. */
  get current(): Backend | null {
    return this.backend;
  }

  /**
   * Return the backend for a mode and options; closes another open one. Rejects with a message for the user. One that
   * opens after the signal was aborted is closed.
   */
  async open(mode: Mode, options: OpenOptions): Promise<Backend> {
    const { model, actionUnits, signal } = options;
    signal.throwIfAborted();
    const isSame = this.backend?.model === model && this.actionUnits === actionUnits;
    if (this.backend?.mode === mode && isSame) return this.backend;
    this.close();
    const open = await LOADERS[mode]();
    signal.throwIfAborted();
    const backend = await open(options);
    if (signal.aborted) backend.close();
    signal.throwIfAborted();
    this.backend = backend;
    this.actionUnits = actionUnits;
    return backend;
  }

  close(): void {
    this.backend?.close();
    this.backend = null;
  }
}
