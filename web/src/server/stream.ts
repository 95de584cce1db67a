/** The WebSocket `v1/stream`: one question at a time, each with one answer. */

import type { Face } from '../reader';
import { streamAddress } from './address';
import { servedModels } from './probe';
import { BusyError } from './refusals';

const ANSWER_S = 20;

export interface FrameAnswer {
  type: 'frame';
  frame_index: number;
  timestamp_s: number;
  faces: Face[];
}

type Answer =
  | FrameAnswer
  | { type: 'ready'; labels: string[] }
  | { type: 'reset' }
  | { type: 'dropped'; frame_index: number }
  | { type: 'error'; code: string; message: string };

/** One connection; after it broke, another one is opened by the next question. */
export class Stream {
  private socket: WebSocket | null = null;
  private settle: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | null = null;

  constructor(private readonly model: string) {}

  get is_open(): boolean {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Sends messages and waits for the one answer. Rejects with a `BusyError` when it is worth trying again. */
  async ask(...messages: (string | Blob)[]): Promise<Answer> {
    if (!this.is_open) await this.connect();
    const answer = this.wait();
    for (const message of messages) this.socket?.send(message);
    return answer;
  }

  close(): void {
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
    this.settle?.reject(new Error('The connection was closed.'));
    this.settle = null;
  }

  private async connect(): Promise<void> {
    this.close();
    await servedModels(); // says why, where a WebSocket only says no
    const { url, protocols } = streamAddress(this.model);
    const socket = new WebSocket(url, protocols);
    this.socket = socket;
    socket.addEventListener('message', ({ data }) => socket === this.socket && this.hear(String(data)));
    let is_ready = false;
    socket.addEventListener('close', () => socket === this.socket && this.fail(closed(is_ready)));
    await this.wait();
    is_ready = true;
  }

  private wait(): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => this.fail(new BusyError('The server does not answer.')), 1000 * ANSWER_S);
      const done = () => clearTimeout(late);
      this.settle = {
        resolve: (answer) => (done(), resolve(answer)),
        reject: (error) => (done(), reject(error)),
      };
    });
  }

  private hear(text: string): void {
    const settle = this.settle;
    this.settle = null;
    settle?.resolve(JSON.parse(text) as Answer);
  }

  private fail(error: Error): void {
    const settle = this.settle;
    this.settle = null;
    this.socket?.close();
    this.socket = null;
    settle?.reject(error);
  }
}

/** A browser does not tell why a WebSocket was refused; too many of them is what is left here. */
function closed(was_ready: boolean): Error {
  return new BusyError(was_ready ? 'The connection to the server broke.' : 'The server has no place free for moving pictures.');
}
