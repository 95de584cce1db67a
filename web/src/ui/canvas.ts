/** Canvases that are crisp on every screen, in CSS pixels. */

/** Fits a canvas to the size it is shown at and gives an empty context whose unit is a CSS pixel. */
export function openCanvas(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const dense = window.devicePixelRatio || 1;
  const wide = Math.round(canvas.clientWidth * dense);
  const high = Math.round(canvas.clientHeight * dense);
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = canvas.getContext('2d');
  if (!context) throw new Error('This browser draws no canvas.');
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return context;
}

/** The value of a custom property of the page's style, as it is now. */
export function styleColour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** A path with round corners, ready to fill or stroke. */
export function roundedPath(context: CanvasRenderingContext2D, box: Box, radius: number): void {
  context.beginPath();
  context.roundRect(box.x, box.y, box.wide, box.high, Math.max(0, Math.min(radius, box.wide / 2, box.high / 2)));
}

/** A box in CSS pixels. */
export interface Box {
  x: number;
  y: number;
  wide: number;
  high: number;
}
