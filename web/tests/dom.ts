/** The parts of a document that the page's code uses, for tests outside a browser. */

import { vi } from 'vitest';

const NAMES = ['HTMLElement', 'HTMLImageElement', 'HTMLVideoElement', 'HTMLCanvasElement', 'HTMLProgressElement'];
const CONTROLS = ['HTMLButtonElement', 'HTMLFormElement', 'HTMLInputElement', 'HTMLSelectElement', 'HTMLDialogElement'];

/** An element of any type, without layout. */
export class StubElement extends EventTarget {
  [property: string]: unknown;
  hidden = false;
  textContent = '';
  children: StubElement[] = [];
  readonly attributes = new Map<string, string>();
  readonly style = { setProperty: () => undefined, removeProperty: () => undefined };
  readonly classList = { add: () => undefined, remove: () => undefined, toggle: () => undefined };
  load = () => undefined;
  pause = () => undefined;
  getBoundingClientRect = () => ({ left: 0, right: 0 });

  append(...items: StubElement[]): void {
    this.children.push(...items);
  }

  replaceChildren(...items: StubElement[]): void {
    this.children = items;
  }

  setAttribute(name: string, value: string): void {
    this.attributes.set(name, value);
  }

  removeAttribute(name: string): void {
    this.attributes.delete(name);
  }

  contains(other: unknown): boolean {
    return other === this || this.children.some((child) => child.contains(other));
  }

  focus(): void {
    Object.assign(document, { activeElement: this });
  }
}

/** Install an empty document; its elements are created when they are first asked for. */
export function installDocument(): { element(id: string): StubElement } {
  const elements = new Map<string, StubElement>();
  const element = (id: string) => {
    const found = elements.get(id) ?? new StubElement();
    elements.set(id, found);
    return found;
  };
  for (const name of [...NAMES, ...CONTROLS]) vi.stubGlobal(name, StubElement);
  vi.stubGlobal('Option', StubElement);
  vi.stubGlobal(
    'ResizeObserver',
    class {
      observe(): void {}
    },
  );
  vi.stubGlobal('window', { setTimeout: (...call: Parameters<typeof setTimeout>) => setTimeout(...call) });
  vi.stubGlobal('location', { host: 'localhost' });
  vi.stubGlobal('document', {
    activeElement: null,
    baseURI: 'http://localhost/',
    createElement: () => new StubElement(),
    getElementById: element,
  });
  return { element };
}
