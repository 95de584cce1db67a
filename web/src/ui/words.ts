/** Faces in words and numbers. */

import type { Expression, Face, HeadPose, Quality } from '../reader';

const LEVEL_DEG = 6;

/** "97%". */
export function percent(share: number): string {
  return `${Math.round(100 * share)}%`;
}

/** "88 ms", "2.9 s". */
export function duration(time_ms: number): string {
  return time_ms < 1000 ? `${Math.round(time_ms)} ms` : `${(time_ms / 1000).toFixed(1)} s`;
}

/** What counts for people: the steady expression in moving pictures, the picture's own otherwise. */
export function shown(face: Face): Expression | null {
  return face.smoothed ?? face.expression;
}

/** "happiness", "not sure", or "not read". */
export function labelText(expression: Expression | null): string {
  return expression ? (expression.label ?? 'not sure') : 'not read';
}

/** "turned 12° to their left, looking 8° up", seen from the person; "facing the camera" when nearly so. */
export function poseWords(pose: HeadPose | null): string {
  if (!pose) return 'head pose unknown';
  const parts: string[] = [];
  const side = (angle: number) => (angle > 0 ? 'left' : 'right');
  const degrees = (angle: number) => `${Math.round(Math.abs(angle))}°`;
  if (Math.abs(pose.yaw) > LEVEL_DEG) parts.push(`turned ${degrees(pose.yaw)} to their ${side(pose.yaw)}`);
  if (Math.abs(pose.pitch) > LEVEL_DEG) parts.push(`looking ${degrees(pose.pitch)} ${pose.pitch > 0 ? 'up' : 'down'}`);
  if (Math.abs(pose.roll) > LEVEL_DEG) parts.push(`tilted ${degrees(pose.roll)} to their ${side(pose.roll)}`);
  return parts.join(', ') || 'facing the camera';
}

/** "yaw 12°, pitch −3°, roll 0°". */
export function poseNumbers(pose: HeadPose): string {
  const angle = (value: number) => `${Math.round(value) || 0}°`.replace('-', '−');
  return `yaw ${angle(pose.yaw)}, pitch ${angle(pose.pitch)}, roll ${angle(pose.roll)}`;
}

/** What makes a face hard to read, the worst first, or that nothing does. */
export function qualityWords(quality: Quality | null): string {
  if (!quality) return 'unknown';
  const troubles: string[] = [];
  if (quality.visible < 0.9) troubles.push('partly out of the picture');
  if (quality.size_px < 40) troubles.push('small');
  if (quality.sharpness < 0.4) troubles.push('blurred');
  if (quality.frontality !== null && quality.frontality < 0.6) troubles.push('turned away');
  return troubles.length > 0 ? `hard to read: ${troubles.join(', ')}` : 'well to be seen';
}

/** "136 px, sharpness 0.84, frontality 0.96, 100% in the picture". */
export function qualityNumbers(quality: Quality): string {
  const frontality = quality.frontality === null ? 'unknown' : quality.frontality.toFixed(2);
  const parts = [`${Math.round(quality.size_px)} px`, `sharpness ${quality.sharpness.toFixed(2)}`];
  return [...parts, `frontality ${frontality}`, `${percent(quality.visible)} in the picture`].join(', ');
}

/** "no face", "one face", "3 faces". */
export function countWords(count: number): string {
  return count === 0 ? 'no face' : count === 1 ? 'one face' : `${count} faces`;
}

/** A face by its number in a sentence: "face 2: happiness, 97%". */
export function faceWords(number: number, expression: Expression | null): string {
  const share = expression?.label ? `, ${percent(expression.confidence)}` : '';
  return `face ${number}: ${labelText(expression)}${share}`;
}

/** A sentence from parts. */
export function sentence(parts: string[]): string {
  const text = parts.join('; ');
  return text ? `${text.charAt(0).toUpperCase()}${text.slice(1)}.` : '';
}
