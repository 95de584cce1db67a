/** Projected axes of a head pose, as in Python's annotated images (`axes_xyz` in `mien/drawing/annotate.py`). */

import type { HeadPose } from '../backend';
import { AXIS_COLORS } from './palette';

export interface Axis {
  /** Image coordinates of the tip, x right and y down, for an axis of length 1. */
  x: number;
  y: number;
  /** Toward the viewer. */
  depth: number;
  color: string;
}

/** Return the axes to the subject's left, up, and forward, ordered from far to near. */
export function headAxes(pose: HeadPose): Axis[] {
  const [yaw, pitch, roll] = [pose.yaw, -pose.pitch, -pose.roll].map((angle) => (angle * Math.PI) / 180);
  const [cy, sy, cp, sp, cr, sr] = [yaw, pitch, roll].flatMap((angle) => [Math.cos(angle), Math.sin(angle)]);
  const axes = [
    [cy, 0, -sy],
    [sy * sp, cp, cy * sp],
    [sy * cp, -sp, cy * cp],
  ];
  return axes
    .map(([x, y, z], index) => ({
      x: cr * x - sr * y,
      y: -(sr * x + cr * y),
      depth: z,
      color: AXIS_COLORS[index],
    }))
    .sort((a, b) => a.depth - b.depth);
}
