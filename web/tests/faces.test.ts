import { describe, expect, test } from 'vitest';
import { decode, detect, keepBest, toInput, type Found } from '../src/engine/detection';
import { calibrated, type ExpressionManifest } from '../src/engine/expression';
import { blank } from '../src/engine/imaging';
import { fitMesh, meshCropMatrix, SINGLE_PICTURE, type Mesh } from '../src/engine/landmarks';
import { faceLook } from '../src/engine/look';
import { headPose } from '../src/engine/pose';
import { faceQuality } from '../src/engine/quality';
import { readingWeight } from '../src/engine/smoothing';
import { expectClose, fixture, foundOf, numbers, pixels, type Packed } from './fixtures';
import geometry from '../../src/mien/assets/face-geometry.json';

describe('detection', () => {
  const python = fixture('detection');
  const outputs = (python.outputs as Packed[]).map((output) => numbers(output) as Float32Array);

  test('the input has a border, and a size of whole 32s', () => {
    const { tensor, dims } = toInput(pixels(python.image), python.border);
    expect(dims).toEqual(python.input.shape);
    expect(Uint8Array.from(tensor)).toEqual(numbers(python.input));
  });

  test('candidates are decoded as in Python', () => {
    expectClose(decode(outputs, python.width), python.found.map(foundOf), 3);
  });

  test('the same ones are kept', () => {
    expectClose(keepBest(python.found.map(foundOf)), python.kept.map(foundOf), 3);
  });

  test('a picture is looked at again, small and with a border', async () => {
    const asked: number[][] = [];
    const network = {
      async run(_: Float32Array, dims: readonly number[]) {
        asked.push([...dims]);
        return [8, 16, 32].flatMap((stride) => {
          const cells = (dims[2] * dims[3]) / stride ** 2;
          return [1, 1, 4, 10].map((columns) => new Float32Array(cells * columns));
        });
      },
    };
    expect(await detect(network, blank(1280, 720), false)).toEqual([]);
    expect(asked).toEqual([
      [1, 3, 384, 640],
      [1, 3, 192, 256],
    ]);
  });
});

test('a picture on its side is searched from both sides, and what is found lies in the picture', async () => {
  /** One face of 64 pixels in an upright picture that is bright in its upper left. */
  const network = {
    async run(tensor: Float32Array, dims: readonly number[]) {
      const [, , height, width] = dims;
      return [8, 16, 32].flatMap((stride) => {
        const [cells, columns] = [(height * width) / stride ** 2, width / stride];
        const outputs = [1, 1, 4, 10].map((wide) => new Float32Array(cells * wide));
        if (stride === 8 && height > 300 && height > width && tensor[0] > 0) {
          const place = 20 * columns + 6;
          outputs[0][place] = outputs[1][place] = 0.9;
          outputs[2].set([0, 0, Math.log(8), Math.log(8)], 4 * place);
          outputs[3].set([-1, -1, 1, -1, 0, 0, -1, 1, 1, 1], 10 * place);
        }
        return outputs;
      });
    },
  };
  const image = blank(400, 120);
  image.data.fill(200, 4 * 399, 4 * 400); // its upper right is the upper left of the picture turned counterclockwise
  expect(await detect(network, image, false)).toEqual([]);
  const [face, ...others] = await detect(network, image, true);
  expect(others).toEqual([]);
  expectClose(face.box, [400 - 192, 16, 400 - 128, 80], 3);
  expectClose(face.landmarks[0], [400 - 152, 40], 3); // once at (40, 152)
  image.data.fill(0);
  image.data.fill(200, 4 * 119 * 400, 4 * 119 * 400 + 4); // its lower left that of the picture turned clockwise
  expectClose((await detect(network, image, true))[0].box, [128, 120 - 80, 192, 120 - 16], 3);
});

describe('a face', () => {
  const python = fixture('faces');
  const image = pixels(python.image);
  const found: Found[] = python.boxes.map((box: number[]) => ({ box, landmarks: python.landmarks_xy, confidence: 0.9 }));

  test('looks as in Python', () => {
    found.forEach((face, place) => expectClose(faceLook(image, face), [...numbers(python.looks[place])], 6));
  });

  test('has no look when its landmarks are no place', () => {
    expect(faceLook(image, { ...found[0], landmarks: found[0].landmarks.map(() => [NaN, 0]) })).toBeNull();
    expect(faceLook(image, { ...found[0], landmarks: found[0].landmarks.map(([x, y]) => [9999 * x, 9999 * y]) })).toBeNull();
  });

  test('has the quality that Python sees', () => {
    found.forEach(({ box, landmarks }, place) => expectClose(faceQuality(image, box, landmarks, null), python.qualities[place]));
    expect(faceQuality(image, found[0].box, python.landmarks_xy, python.pose).frontality).toBeCloseTo(python.frontality);
  });

  test('is cut out for the mesh as in Python', () => {
    found.forEach((face, place) => expectClose(meshCropMatrix(face, face.landmarks.slice(0, 2)), python.mesh_crops[place]));
  });

  test('turns as in Python', () => {
    (python.meshes as Packed[]).forEach((packed, place) => {
      const { yaw_deg, pitch_deg, roll_deg } = python.poses[place];
      expectClose(headPose(meshOf(numbers(packed)), geometry as never), { yaw: yaw_deg, pitch: pitch_deg, roll: roll_deg });
    });
  });

  test('is fitted again when its eyes stand off level, and not at all when nothing is there', async () => {
    const tilted = new Float32Array(3 * 478);
    tilted.set([60, 100, 0], 3 * 33);
    tilted.set([190, 160, 0], 3 * 263);
    let runs = 0;
    const network = (presence: number) => ({ run: async () => (runs++, [tilted, Float32Array.of(presence)]) });
    const moving = (level_deg: number) => ({ level_deg, turned: false });
    expect((await fitMesh(network(9), image, found[0], moving(6)))?.mesh).toHaveLength(478);
    expect(runs).toBe(6); // this mesh is as tilted in every crop
    await fitMesh(network(9), image, found[0], moving(60));
    expect(runs).toBe(7);
    expect(await fitMesh(network(-1), image, found[0], moving(6))).toBeNull();
    expect(runs).toBe(8);
    expect(await fitMesh(network(-1), image, found[0], SINGLE_PICTURE)).toBeNull();
    expect(runs).toBe(16); // and the seven turns
  });

  test('is turned by the mesh that fits best, and upside down only when that is beyond doubt', async () => {
    const level = new Float32Array(3 * 478);
    level.set([60, 128, 0], 3 * 33);
    level.set([190, 128, 0], 3 * 263);
    const turnOf = async (logits: number[]) => {
      let run = 0;
      const network = { run: async () => [level, Float32Array.of(logits[run++] ?? -9)] };
      return Math.round((await fitMesh(network, image, found[0], SINGLE_PICTURE))?.turn_deg ?? NaN);
    };
    expect(await turnOf([8, 20, 20])).toBe(0);
    expect(await turnOf([-3, 6, 4])).toBe(45);
    expect(await turnOf([-3, -3, 4, 9])).toBeNaN();
    expect(Math.abs(await turnOf([4, 3, 4, 12]))).toBe(180);
    expect(await turnOf([4, 6, 4, 3, 3, 12, 14])).toBe(135);
    expect(await turnOf([4, 6.9, 4])).toBe(0);
  });
});

test('expressions are as sure as in Python', () => {
  const python = fixture('expression');
  const manifest = python.manifest as ExpressionManifest;
  python.logits.forEach((logits: number[], place: number) => {
    expectClose(calibrated(Float32Array.from(logits), manifest, python.qualities[place]), python.expressions[place]);
    expect(readingWeight(python.qualities[place])).toBeCloseTo(python.weights[place]);
  });
});

function meshOf(values: ArrayLike<number>): Mesh {
  return Array.from({ length: values.length / 3 }, (_, place) => [values[3 * place], values[3 * place + 1], values[3 * place + 2]]);
}
