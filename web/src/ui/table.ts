/** Results as JSON and CSV, with the fields of `mien predict --json` and the columns of `mien predict --table`. */

import type { Face, Frame } from '../backend';
import type { ErrorRecord, ResultRecord } from '../generated/results';

export interface NamedFrame {
  name: string;
  frame: Frame | null;
  error: ErrorRecord | null;
}

type Cell = string | number | boolean | null | undefined;

/** Return the results as the JSON response of the server. */
export function toJson(model: string, images: readonly NamedFrame[]): string {
  return `${JSON.stringify({ model, results: images.map(toRecord) }, null, 2)}\n`;
}

function toRecord({ name, frame, error }: NamedFrame): ResultRecord {
  const { width = 0, height = 0, faces = [] } = frame ?? {};
  return { image: name, width, height, faces, warnings: [], error };
}

/** Return a CSV table with one row per face; an image without faces has one row. */
export function toCsv(labels: readonly string[], images: readonly NamedFrame[]): string {
  const rows = images.flatMap((image) => flatten(toRecord(image)));
  const movements = images.flatMap(({ frame }) => frame?.faces ?? []).map(movementsOf);
  const columns = tableColumns(labels, Object.keys(movements.find((each) => each !== null) ?? {}));
  const lines = [columns, ...rows.map((row) => columns.map((name) => row[name]))];
  return lines.map((cells) => `${cells.map(formatCell).join(',')}\r\n`).join('');
}

/** The columns of `mien.schema.table_columns`. */
function tableColumns(labels: readonly string[], movements: readonly string[]): string[] {
  return [
    ...['image', 'width', 'height', 'face', 'x1', 'y1', 'x2', 'y2', 'face_confidence', 'is_face_doubtful'],
    ...['yaw_deg', 'pitch_deg', 'roll_deg', 'size_px', 'sharpness', 'frontality', 'visible'],
    ...['label', 'confidence', 'valence', 'arousal', ...labels.map((label) => `p_${label}`)],
    ...movements,
    ...['error', 'message'],
  ];
}

function flatten({ image, width, height, faces, error }: ResultRecord): Record<string, Cell>[] {
  const shared = { image, width, height, error: error?.code, message: error?.message };
  return faces.length > 0
    ? faces.map((face, index) => ({ ...shared, face: face.track_id ?? index + 1, ...flattenFace(face) }))
    : [shared];
}

function flattenFace(face: Face): Record<string, Cell> {
  const [x1, y1, x2, y2] = face.bbox_xyxy;
  const { yaw: yaw_deg, pitch: pitch_deg, roll: roll_deg } = face.head_pose_deg ?? {};
  const { probabilities = {}, ...expression } = face.smoothed ?? face.expression ?? {};
  const shares = Object.entries(probabilities).map(([label, value]) => [`p_${label}`, value]);
  const pose = { yaw_deg, pitch_deg, roll_deg };
  const box = { x1, y1, x2, y2, face_confidence: face.confidence, is_face_doubtful: face.is_face_doubtful };
  return { ...box, ...pose, ...face.quality, ...expression, ...Object.fromEntries(shares), ...movementsOf(face) };
}

/** Return the action units and the gaze of a face by column, smoothed ones in video; null without estimates. */
function movementsOf(face: Face): Record<string, Cell> | null {
  const units = face.smoothed_action_units ?? face.action_units;
  if (!units) return null;
  const gaze = face.smoothed_action_units ? face.smoothed_gaze_deg : face.gaze_deg;
  return { ...units, gaze_yaw_deg: gaze?.yaw, gaze_pitch_deg: gaze?.pitch };
}

function formatCell(cell: Cell): string {
  // True and False as Python writes them.
  const text = typeof cell === 'boolean' ? (cell ? 'True' : 'False') : String(cell ?? '');
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
