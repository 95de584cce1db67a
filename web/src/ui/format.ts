/** Text for expressions, head poses, quality and durations. */

import type { Expression, Face, HeadPose, Quality } from '../backend';

/** Maximum angle that counts as zero in a description. */
const MAX_LEVEL_DEG = 6;
/** Quality limits below which a face is described as hard to analyze. */
const MIN_QUALITY = { visible: 0.9, size_px: 40, sharpness: 0.4, frontality: 0.6 };

/** Arousal from which a voice is described as excited, or below whose negative as calm. */
const MIN_AROUSAL = 0.33;

/** "97%". */
export function formatPercent(fraction: number): string {
  return `${Math.round(100 * fraction)}%`;
}

/** "88 ms", "2.9 s". */
export function formatDuration(time_ms: number): string {
  return time_ms < 1000 ? `${Math.round(time_ms)} ms` : `${(time_ms / 1000).toFixed(1)} s`;
}

/** Return the expression to display: smoothed in video, otherwise the image's own. */
export function displayedExpression(face: Face): Expression | null {
  return face.smoothed ?? face.expression;
}

/** "happiness", "not sure" or "no prediction". */
export function formatLabel(expression: Expression | null): string {
  return expression ? (expression.label ?? 'not sure') : 'no prediction';
}

/** "turned 12° to their left, looking 8° up", from the subject's view; "facing the camera" when nearly frontal. */
export function formatPose(pose: HeadPose | null): string {
  if (!pose) return 'unknown';
  const parts: string[] = [];
  const side = (angle: number) => (angle > 0 ? 'left' : 'right');
  const degrees = (angle: number) => `${Math.round(Math.abs(angle))}°`;
  if (Math.abs(pose.yaw) > MAX_LEVEL_DEG) {
    parts.push(`turned ${degrees(pose.yaw)} to their ${side(pose.yaw)}`);
  }
  if (Math.abs(pose.pitch) > MAX_LEVEL_DEG) {
    parts.push(`looking ${degrees(pose.pitch)} ${pose.pitch > 0 ? 'up' : 'down'}`);
  }
  if (Math.abs(pose.roll) > MAX_LEVEL_DEG) {
    parts.push(`tilted ${degrees(pose.roll)} to their ${side(pose.roll)}`);
  }
  return parts.join(', ') || 'facing the camera';
}

/** "yaw 12°, pitch −3°, roll 0°". */
export function formatPoseAngles(pose: HeadPose): string {
  const angle = (value: number) => `${Math.round(value) || 0}°`.replace('-', '−');
  return `yaw ${angle(pose.yaw)}, pitch ${angle(pose.pitch)}, roll ${angle(pose.roll)}`;
}

/** "clearly visible", or "limited: small, blurred". */
export function formatQuality(quality: Quality | null): string {
  if (!quality) return 'unknown';
  const { visible, size_px, sharpness, frontality } = quality;
  const problems: string[] = [];
  if (visible < MIN_QUALITY.visible) problems.push('partly outside the image');
  if (size_px < MIN_QUALITY.size_px) problems.push('small');
  if (sharpness < MIN_QUALITY.sharpness) problems.push('blurred');
  if (frontality !== null && frontality < MIN_QUALITY.frontality) problems.push('turned away');
  return problems.length > 0 ? `limited: ${problems.join(', ')}` : 'clearly visible';
}

/** "136 px, sharpness 0.84, frontality 0.96, 100% in the image". */
export function formatQualityValues({ size_px, sharpness, frontality, visible }: Quality): string {
  return [
    `${Math.round(size_px)} px`,
    `sharpness ${sharpness.toFixed(2)}`,
    `frontality ${frontality === null ? 'unknown' : frontality.toFixed(2)}`,
    `${formatPercent(visible)} in the image`,
  ].join(', ');
}

/** "excited, +0.63", "calm, −0.80"; close to 0 "in between". */
export function formatArousal(arousal: number): string {
  const number = `${arousal < 0 ? '−' : '+'}${Math.abs(arousal).toFixed(2)}`;
  if (Math.abs(arousal) < MIN_AROUSAL) return `in between, ${number}`;
  return `${arousal < 0 ? 'calm' : 'excited'}, ${number}`;
}

/** "no face", "one face", "3 faces". */
export function formatFaceCount(count: number): string {
  if (count === 0) return 'no face';
  return count === 1 ? 'one face' : `${count} faces`;
}

/** "face 2: happiness, 97%". */
export function formatFace(number: number, expression: Expression | null): string {
  const confidence = expression?.label ? `, ${formatPercent(expression.confidence)}` : '';
  return `face ${number}: ${formatLabel(expression)}${confidence}`;
}

/** Join parts into a capitalized sentence. */
export function toSentence(parts: string[]): string {
  const text = parts.join('; ');
  return text ? `${text.charAt(0).toUpperCase()}${text.slice(1)}.` : '';
}
