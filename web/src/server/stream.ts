/** Client of the WebSocket `v1/stream`: one request at a time, each with one response. */

import type { ErrorRecord, VideoFrameRecord } from '../generated/results';
import { unlessAborted } from '../waiting';
import { streamEndpoint } from './endpoints';
import { BusyError } from './errors';
import { listServedModels } from './health';

const TIMEOUT_S = 20;
const PAUSED = 1008;
/** Reason of requests that end because the connection is closed on this side. */
export const CLOSED = 'The connection was closed.';
const CLOSE_MESSAGES: Record<number, string> = {
  1001: 'The server was stopped.',
  [PAUSED]: 'The server closed the connection after a pause.',
  1009: 'The video’s frames are too large for this server.',
  1011: 'The server failed.',
};

type Message =
  | ({ type: 'frame' } & VideoFrameRecord)
  | { type: 'ready'; labels: string[] }
  | { type: 'reset' }
  | ({ type: 'error' } & ErrorRecord);
type Dropped = { type: 'dropped'; frame_index: number };

/** One connection, reopened by the next request after a failure. */
export class Stream {
  private socket: WebSocket | null = null;
  private pending: { resolve: (message: Message) => void; reject: (error: Error) => void } | null = null;
  /** Why the connection ended between two requests; reported by the next one. */
  private failure: Error | null = null;
  /** Aborted when the stream is closed for good. */
  private readonly closing = new AbortController();

  constructor(
    private readonly model: string,
    private readonly actionUnits: boolean,
  ) {}

  get isOpen(): boolean {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Send messages and wait for the one response. Rejects with a `BusyError` when the request may be retried. */
  async request(...messages: (string | Blob)[]): Promise<Message> {
    await this.waitUntilClosed();
    const { failure } = this;
    this.failure = null;
    if (failure) throw failure;
    if (!this.isOpen) await this.connect();
    const response = this.receive();
    for (const message of messages) this.socket?.send(message);
    return response;
  }

  /** End the connection for good. */
  close(): void {
    this.closing.abort(new Error(CLOSED));
    this.disconnect();
  }

  private disconnect(): void {
    const { socket, pending } = this;
    this.socket = null;
    this.pending = null;
    this.failure = null;
    socket?.close(1000);
    pending?.reject(new Error(CLOSED));
  }

  /** Wait until a connection that the server is closing is closed: only then is its reason known. */
  private async waitUntilClosed(): Promise<void> {
    const { socket } = this;
    if (socket?.readyState !== WebSocket.CLOSING) return;
    const closed = new Promise((resolve) => socket.addEventListener('close', resolve, { once: true }));
    await unlessAborted(closed, this.closing.signal);
  }

  private async connect(): Promise<void> {
    this.disconnect();
    // Reports why access is denied; a failed WebSocket handshake has no details.
    await listServedModels(this.closing.signal);
    this.closing.signal.throwIfAborted();
    const { url, protocols } = streamEndpoint(this.model, this.actionUnits);
    const socket = new WebSocket(url, protocols);
    this.socket = socket;
    socket.addEventListener('message', ({ data }) => {
      if (socket === this.socket) this.settle(JSON.parse(String(data)) as Message | Dropped);
    });
    let isReady = false;
    socket.addEventListener('close', ({ code }) => {
      // Without details from the browser, the stream limit is the likely reason of a failed handshake.
      const message = isReady ? closeMessage(code) : 'The server accepts no more video streams.';
      // After a pause the next request opens another connection.
      if (socket !== this.socket || (code === PAUSED && !this.pending)) return;
      this.fail(new BusyError(message));
    });
    await this.receive();
    isReady = true;
  }

  private receive(): Promise<Message> {
    return new Promise((resolve, reject) => {
      const timeout = setTimeout(() => this.fail(new BusyError('The server does not respond.')), 1000 * TIMEOUT_S);
      this.pending = {
        resolve: (message) => {
          clearTimeout(timeout);
          resolve(message);
        },
        reject: (error) => {
          clearTimeout(timeout);
          reject(error);
        },
      };
    });
  }

  private settle(message: Message | Dropped): void {
    // One image at a time is dropped only while the server stops; the reason follows.
    if (message.type === 'dropped') return;
    const { pending } = this;
    this.pending = null;
    pending?.resolve(message);
  }

  private fail(error: Error): void {
    const { socket, pending } = this;
    this.socket = null;
    this.pending = null;
    socket?.close();
    if (pending) pending.reject(error);
    else this.failure = error;
  }
}

/** Return the message for the code with which the server closed an open connection. */
export function closeMessage(code: number): string {
  return CLOSE_MESSAGES[code] ?? 'The connection to the server was lost.';
}
