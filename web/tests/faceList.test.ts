/** The list of face cards. */

import { afterEach, expect, test, vi } from 'vitest';
import type { Frame } from '../src/backend';
import { FaceList } from '../src/ui/faceList';
import { StubElement } from './dom';

vi.mock('../src/ui/faceCard', () => ({
  FaceCard: class {
    root = Object.assign(new StubElement(), { remove: () => undefined });
    lastSeen_s = 0;
    constructor(readonly number: number) {
      Object.assign(this.root.classList, { contains: () => false });
    }
    update(_: unknown, now_s: number): void {
      this.lastSeen_s = now_s;
    }
    updateThumbnail(): void {}
  },
}));

afterEach(() => vi.unstubAllGlobals());

test('the highlight of a face ends with its card', () => {
  vi.stubGlobal('document', { activeElement: null });
  const onHighlight = vi.fn();
  const root = Object.assign(new StubElement(), { insertBefore: (card: StubElement) => root.append(card) });
  const list = new FaceList(root as unknown as HTMLElement, onHighlight);
  const show = (numbers: number[], now_s: number) => {
    const faces = numbers.map((track_id) => ({ track_id }));
    list.update({ width: 1, faces } as unknown as Frame, {} as CanvasImageSource, 1, false, now_s);
  };
  const point = (index: number) => root.children[index].dispatchEvent(new Event('pointerenter'));
  show([1, 2], 0);
  point(1);
  expect(onHighlight).toHaveBeenLastCalledWith(2);
  show([1], 1);
  expect(onHighlight).toHaveBeenLastCalledWith(2);
  show([1], 3);
  expect(onHighlight).toHaveBeenLastCalledWith(null);
  point(0);
  expect(onHighlight).toHaveBeenLastCalledWith(1);
  list.clear();
  expect(onHighlight).toHaveBeenLastCalledWith(null);
});
