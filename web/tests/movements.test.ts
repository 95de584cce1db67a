import { expect, test } from 'vitest';
import type { Face } from '../src/backend';
import { strongestUnits } from '../src/ui/movements';

const FACE: Face = {
  bbox_xyxy: [0, 0, 1, 1],
  confidence: 0.9,
  is_face_doubtful: false,
  landmarks_xy: [],
  head_pose_deg: null,
  quality: null,
  expression: null,
};
const UNITS = { AU01: 0.1, AU12: 0.9, AU12_L: 0.95, AU12_R: 0.85, AU25: 0.6, AU26: 0.3, AU43: 0.2, AU07: 0.4 };

test('faces without estimates have no units', () => {
  expect(strongestUnits(FACE)).toEqual([]);
});

test('the strongest units come first, without those of one side', () => {
  const units = strongestUnits({ ...FACE, action_units: UNITS });
  expect(units.map(({ name }) => name)).toEqual(['AU12', 'AU25', 'AU07', 'AU26', 'AU43']);
  expect(units[0]).toEqual({ name: 'AU12', description: 'lip corner puller', intensity: 0.9 });
});

test('smoothed units are preferred', () => {
  const face = { ...FACE, action_units: UNITS, smoothed_action_units: { ...UNITS, AU12: 0.5 } };
  expect(strongestUnits(face)[0].name).toBe('AU25');
});
