/** The head's axes, as in mien's own annotated pictures (`axes_xyz` in `mien/inference/annotate.py`). */

import type { HeadPose } from '../reader';

export interface Axis {
  /** Right and down in the picture, for a length of 1. */
  x: number;
  y: number;
  /** Towards the viewer. */
  near: number;
  colour: string;
}

/** To the subject's left, up, and out of the face; the nearest last. */
export function headAxes(pose: HeadPose): Axis[] {
  const [yaw, pitch, roll] = [pose.yaw, -pose.pitch, -pose.roll].map((angle) => (angle * Math.PI) / 180);
  const [cy, sy, cp, sp, cr, sr] = [yaw, pitch, roll].flatMap((angle) => [Math.cos(angle), Math.sin(angle)]);
  const turned = [
    { at: [cy, 0, -sy], colour: '#eb5757' },
    { at: [sy * sp, cp, cy * sp], colour: '#60be78' },
    { at: [sy * cp, -sp, cy * cp], colour: '#5c8df6' },
  ];
  return turned
    .map(({ at: [x, y, z], colour }) => ({ x: cr * x - sr * y, y: -(sr * x + cr * y), near: z, colour }))
    .sort((a, b) => a.near - b.near);
}
