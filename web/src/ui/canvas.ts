/** High-resolution canvases in CSS pixels. */

export type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** A box in CSS pixels. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Resize a canvas to its displayed size and return a cleared context in CSS pixels. */
export function openCanvas(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const density = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * density);
  const height = Math.round(canvas.clientHeight * density);
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext('2d');
  if (!context) throw new Error('This browser does not support 2D canvas drawing.');
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return context;
}

/** Return the current value of a CSS custom property. */
export function cssVariable(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Create a path with rounded corners. */
export function roundedPath(context: Context, box: Box, radius: number): void {
  const limited = Math.max(0, Math.min(radius, box.width / 2, box.height / 2));
  context.beginPath();
  context.roundRect(box.x, box.y, box.width, box.height, limited);
}
