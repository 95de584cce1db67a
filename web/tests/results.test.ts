/** Downloads, the list of images, the choice of files and the messages of a closed connection. */

import { describe, expect, it } from 'vitest';
import type { Frame } from '../src/backend';
import { closeMessage } from '../src/server/stream';
import { selectFiles } from '../src/ui/files';
import { Gallery } from '../src/ui/gallery';
import { formatOption, formatSummary, type ModelCard } from '../src/ui/models';
import { toCsv, toJson } from '../src/ui/table';

const EXPRESSION = {
  label: null,
  confidence: 0.4,
  valence: 0.1,
  arousal: 0.2,
  probabilities: { neutral: 0.4, fear: 0.3 },
};
const FACE: Frame['faces'][number] = {
  bbox_xyxy: [1, 2, 3, 4],
  confidence: 0.9,
  is_face_doubtful: false,
  landmarks_xy: [],
  head_pose_deg: null,
  quality: { size_px: 2, sharpness: 0.5, frontality: null, visible: 1 },
  expression: EXPRESSION,
};
const FRAME: Frame = { frame_index: 0, timestamp_s: 0, width: 10, height: 20, latency_ms: 1, faces: [FACE, FACE] };

function file(name: string, type: string): File {
  return new File([], name, { type });
}

describe('results', () => {
  it('has a CSV row per face, per empty image and per failed image', () => {
    const empty = { ...FRAME, faces: [] };
    const csv = toCsv(
      ['neutral', 'fear'],
      [
        { name: 'two, "faces".jpg', frame: FRAME, error: null },
        { name: 'empty.jpg', frame: empty, error: null },
        { name: 'broken.jpg', frame: null, error: { code: 'image_unreadable', message: 'is broken' } },
      ],
    );
    const [header, ...rows] = csv.trimEnd().split('\r\n');
    expect(header).toBe(
      'image,width,height,face,x1,y1,x2,y2,face_confidence,is_face_doubtful,yaw_deg,pitch_deg,roll_deg,size_px,sharpness,frontality,' +
        'visible,label,confidence,valence,arousal,p_neutral,p_fear,error,message',
    );
    expect(rows).toEqual([
      '"two, ""faces"".jpg",10,20,1,1,2,3,4,0.9,False,,,,2,0.5,,1,,0.4,0.1,0.2,0.4,0.3,,',
      '"two, ""faces"".jpg",10,20,2,1,2,3,4,0.9,False,,,,2,0.5,,1,,0.4,0.1,0.2,0.4,0.3,,',
      `empty.jpg,10,20${','.repeat(22)}`,
      `broken.jpg,0,0${','.repeat(21)}image_unreadable,is broken`,
    ]);
    expect(toCsv([], [])).toMatch(/^image,.*message\r\n$/);
  });

  it('names the faces of a video by their tracks', () => {
    const frame = { ...FRAME, faces: [{ ...FACE, track_id: 7 }] };
    expect(toCsv([], [{ name: 'video', frame, error: null }])).toContain('video,10,20,7,');
  });

  it('has the columns of action units and gaze where a face has them', () => {
    const units = { AU01: 0.1, AU01_L: 0.2 };
    const estimated = { ...FACE, action_units: units, gaze_deg: { yaw: 1, pitch: -2 } };
    const smoothed = { ...estimated, smoothed_action_units: { AU01: 0.3, AU01_L: 0.4 }, smoothed_gaze_deg: null };
    const frame = { ...FRAME, faces: [FACE, estimated, smoothed] };
    const [header, ...rows] = toCsv([], [{ name: 'a.jpg', frame, error: null }])
      .trimEnd()
      .split('\r\n');
    expect(header).toMatch(/,arousal,AU01,AU01_L,gaze_yaw_deg,gaze_pitch_deg,error,message$/);
    expect(rows.map((row) => row.split(',').slice(-6))).toEqual([
      ['', '', '', '', '', ''],
      ['0.1', '0.2', '1', '-2', '', ''],
      ['0.3', '0.4', '', '', '', ''],
    ]);
  });

  it('has the JSON of the server', () => {
    const json = JSON.parse(toJson('open', [{ name: 'a.jpg', frame: FRAME, error: null }]));
    expect(json).toEqual({
      model: 'open',
      results: [{ image: 'a.jpg', width: 10, height: 20, faces: FRAME.faces, warnings: [], error: null }],
    });
  });
});

describe('gallery', () => {
  it('analyzes the selected image first, then the others in order', () => {
    const gallery = new Gallery(['a', 'b', 'c'].map((name) => file(name, 'image/png')));
    expect(gallery.select(2)).toBe(true);
    const order: string[] = [];
    for (let image = gallery.next; image; image = gallery.next) {
      order.push(image.name);
      if (image.name === 'a') image.error = { code: 'error', message: 'failed' };
      else image.frame = FRAME;
    }
    expect(order).toEqual(['c', 'a', 'b']);
    gallery.reset();
    expect(gallery.next?.name).toBe('c');
  });

  it('selects only images that exist, and names unnamed ones', () => {
    const gallery = new Gallery([file('', 'image/png'), file('b', 'image/png')]);
    expect([0, -1, 2].map((index) => gallery.select(index))).toEqual([false, false, false]);
    expect(gallery.current.name).toBe('Image 1');
  });
});

describe('selectFiles', () => {
  const image = file('a.png', 'image/png');
  const video = file('b.mp4', 'video/mp4');
  const text = file('c.txt', 'text/plain');

  it('opens all images, or one video', () => {
    expect(selectFiles([])).toEqual({ images: [], video: null, notice: null });
    expect(selectFiles([image, image])).toEqual({ images: [image, image], video: null, notice: null });
    expect(selectFiles([video])).toEqual({ images: [], video, notice: null });
  });

  it('reports what it leaves out', () => {
    expect(selectFiles([text]).notice).toBe('c.txt is neither an image nor a video.');
    expect(selectFiles([text, text, image])).toMatchObject({
      images: [image],
      notice: expect.stringContaining('are neither'),
    });
    expect(selectFiles([video, image])).toMatchObject({
      images: [image],
      video: null,
      notice: expect.stringContaining('One video'),
    });
    expect(selectFiles([video, video])).toMatchObject({ video, notice: expect.stringContaining('One video') });
  });
});

describe('messages', () => {
  it('states why the server closed the connection', () => {
    expect(closeMessage(1001)).toBe('The server was stopped.');
    expect(closeMessage(1006)).toBe('The connection to the server was lost.');
  });

  it('describes a model by accuracy, size, training data and license', () => {
    const card: ModelCard = {
      version: '1',
      labels: [],
      license: 'MIT for the weights, as far as possible',
      trained_on: [{ name: 'FER+ (votes)', license: 'MIT' }],
      metrics: { faces: { majority: { n: 10, accuracy: 0.8341, balanced_accuracy: 0.5 } } },
      abstain_below: 0.4,
    };
    expect(formatOption('open', card)).toBe('open: 83.4% accuracy');
    expect(formatSummary(card, 2_700_000)).toBe(
      '83.4% correct on faces · 2.7 MB · trained on FER+ · license: MIT for the weights.',
    );
    expect(formatSummary({ ...card, metrics: {}, trained_on: [] }, undefined)).toBe('License: MIT for the weights.');
  });
});
