import { describe, expect, test } from 'vitest';
import geometry from '../../src/mien/assets/face-geometry.json';
import { rotationCandidates } from '../src/engine/analyzer';
import { appearanceDescriptor } from '../src/engine/appearance';
import { type Detection, decode, detect, suppressNonMaxima, toInput } from '../src/engine/detection';
import { calibrate, type ExpressionManifest } from '../src/engine/expression';
import { blank } from '../src/engine/imaging';
import { fitMesh, type Mesh, meshCropMatrix, SINGLE_IMAGE, searchMesh, VIDEO_FRAME } from '../src/engine/landmarks';
import type { Input } from '../src/engine/network';
import { headPose } from '../src/engine/pose';
import { faceQuality } from '../src/engine/quality';
import { predictionWeight } from '../src/engine/smoothing';
import { expectClose, fixture, type PackedArray, toDetection, toPixels, unpack, withDetailed } from './fixtures';

const UPRIGHT = { tryRotations: false, maxFaces: Infinity };

/** Cells of the detector's outputs for inputs of a size: index, confidence and the values of the cell. */
interface StubCells {
  size_hw: number[];
  rows: number[][];
}

/** Return outputs of the detector without a face for an input of shape `dims`. */
function emptyCells([, height, width]: readonly number[]): Float32Array[] {
  const cells = [8, 16, 32].reduce((count, stride) => count + (height * width) / stride ** 2, 0);
  return [new Float32Array(cells), new Float32Array(16 * cells)];
}

describe('detection', () => {
  const python = fixture('detection');

  test('the input has a border and is padded to multiples of 32', () => {
    const { pixels, dims } = toInput(toPixels(python.image), python.border);
    expect(dims).toEqual(python.input.shape);
    expect(pixels).toEqual(unpack(python.input));
  });

  test('decoded candidates equal those of Python', () => {
    const [confidences, cells] = [unpack(python.confidences), unpack(python.cells)] as Float32Array[];
    expectClose(decode(confidences, cells, python.shape, 0.6), python.candidates.map(toDetection), 3);
  });

  test('detections after suppression equal those of Python', () => {
    const detections = suppressNonMaxima(python.candidates.map(toDetection));
    expectClose(detections, python.detections.map(toDetection), 3);
  });

  test('a limited number of faces is found in the scans of Python', async () => {
    for (const { size_hw, max_faces, cells, inputs_hw, faces } of fixture('few_faces')) {
      const inputs: (readonly number[])[] = [];
      const network = {
        async run(_: Input, dims: readonly number[]) {
          const [, height, width] = dims;
          inputs.push([height, width]);
          const outputs = emptyCells(dims);
          const found = (cells as StubCells[]).find(({ size_hw }) => size_hw[0] === height && size_hw[1] === width);
          for (const [index, confidence, ...values] of found?.rows ?? []) {
            outputs[0][index] = confidence;
            outputs[1].set(values, 16 * index);
          }
          return outputs;
        },
      };
      const options = { tryRotations: true, maxFaces: max_faces ?? Infinity };
      const detections = await detect(network, blank(size_hw[1], size_hw[0]), options);
      expect(inputs).toEqual(inputs_hw);
      expectClose(detections, faces, 3);
    }
  });

  test('an image is searched a second time at a small size with a border', async () => {
    const inputs: number[][] = [];
    const network = {
      async run(_: Input, dims: readonly number[]) {
        inputs.push([...dims]);
        return emptyCells(dims);
      },
    };
    expect(await detect(network, blank(1280, 720), UPRIGHT)).toEqual([]);
    expect(inputs).toEqual([
      [1, 384, 640, 3],
      [1, 192, 256, 3],
    ]);
  });

  test.each([
    ['explained by a confident face', 1, 0],
    ['with a weak large candidate elsewhere', 2, 0.1],
  ])('an image %s is searched %i times', async (_, searches, weak) => {
    let runs = 0;
    const network = {
      async run(_: Input, dims: readonly number[]) {
        const [confidences, cells] = emptyCells(dims);
        if (runs++ === 0) {
          confidences[0] = 0.9;
          cells.set([0, 0, 4, 4, Math.log(8), Math.log(8)], 0);
          confidences[confidences.length - 1] = weak;
          cells.set([0, 0, -5, -3, Math.log(8), Math.log(8)], cells.length - 16);
        }
        return [confidences, cells];
      },
    };
    expect(await detect(network, blank(640, 480), UPRIGHT)).toHaveLength(1);
    expect(runs).toBe(searches);
  });

  test('a rotated image is searched both ways, with results in pixels of the original', async () => {
    /** Detects one face of 64 pixels in an upright image with a bright upper left corner. */
    const network = {
      async run(pixels: Input, dims: readonly number[]) {
        const [, height, width] = dims;
        const [confidences, cells] = emptyCells(dims);
        if (height > 300 && height > width && pixels[0] > 0) {
          const index = 20 * (width / 8) + 6;
          confidences[index] = 0.9;
          cells.set([0, 0, 0, 0, Math.log(8), Math.log(8), -1, -1, 1, -1, 0, 0, -1, 1, 1, 1], 16 * index);
        }
        return [confidences, cells];
      },
    };
    const image = blank(400, 120);
    // The upper right corner becomes the upper left after a counterclockwise rotation.
    image.data.fill(200, 4 * 399, 4 * 400);
    expect(await detect(network, image, UPRIGHT)).toEqual([]);
    const [face, ...others] = await detect(network, image, { ...UPRIGHT, tryRotations: true });
    expect(others).toEqual([]);
    expectClose(face.box, [400 - 192, 16, 400 - 128, 80], 3);
    // (40, 152) in the rotated image
    expectClose(face.landmarks[0], [400 - 152, 40], 3);
    image.data.fill(0);
    // The lower left corner becomes the upper left after a clockwise rotation.
    image.data.fill(200, 4 * 119 * 400, 4 * 119 * 400 + 4);
    expectClose(
      (await detect(network, image, { ...UPRIGHT, tryRotations: true }))[0].box,
      [128, 120 - 80, 192, 120 - 16],
      3,
    );
  });
});

describe('faces', () => {
  const python = fixture('faces');
  const image = toPixels(python.image);
  const detections: Detection[] = python.boxes.map((box: number[]) => ({
    box,
    landmarks: python.landmarks_xy,
    confidence: 0.9,
  }));

  test('appearance descriptors equal those of Python', () => {
    detections.forEach((face, index) => {
      expectClose(appearanceDescriptor(image, face), [...unpack(python.appearances[index])], 6);
    });
  });

  test('degenerate landmarks give no appearance descriptor', () => {
    const [face] = detections;
    const invalid = face.landmarks.map((): [number, number] => [NaN, 0]);
    const distant = face.landmarks.map(([x, y]): [number, number] => [9999 * x, 9999 * y]);
    expect(appearanceDescriptor(image, { ...face, landmarks: invalid })).toBeNull();
    expect(appearanceDescriptor(image, { ...face, landmarks: distant })).toBeNull();
  });

  test('quality equals that of Python', () => {
    detections.forEach(({ box, landmarks }, index) => {
      expectClose(faceQuality(image, box, landmarks, null), python.qualities[index]);
    });
    const { frontality } = faceQuality(image, detections[0].box, python.landmarks_xy, python.pose);
    expect(frontality).toBeCloseTo(python.frontality);
  });

  test('mesh crops equal those of Python', () => {
    detections.forEach((face, index) => {
      expectClose(meshCropMatrix(face, face.landmarks.slice(0, 2), 256), python.mesh_crops[index]);
    });
  });

  test('head poses equal those of Python', () => {
    (python.meshes as PackedArray[]).forEach((packed, index) => {
      const { yaw_deg, pitch_deg, roll_deg } = python.poses[index];
      const pose = headPose(toMesh(unpack(packed)), geometry as never);
      expectClose(pose, { yaw: yaw_deg, pitch: pitch_deg, roll: roll_deg });
    });
  });

  test('a mesh is fitted again while it is tilted in its crop, and dropped without presence', async () => {
    const tilted = new Float32Array(3 * 478);
    tilted.set([60, 100, 0], 3 * 33);
    tilted.set([190, 160, 0], 3 * 263);
    let runs = 0;
    const network = (presence: number) => ({
      async run() {
        runs++;
        return [tilted, Float32Array.of(presence)];
      },
    });
    const options = (maxTilt_deg: number) => ({ ...VIDEO_FRAME, maxTilt_deg });
    expect((await fitMesh(withDetailed(network(9)), image, detections[0], options(6)))?.mesh).toHaveLength(478);
    // This stub mesh has the same tilt in every crop.
    expect(runs).toBe(6);
    await fitMesh(withDetailed(network(9)), image, detections[0], options(60));
    expect(runs).toBe(7);
    expect(await fitMesh(withDetailed(network(-1)), image, detections[0], options(6))).toBeNull();
    expect(runs).toBe(8);
    expect(await fitMesh(withDetailed(network(-1)), image, detections[0], SINGLE_IMAGE)).toBeNull();
    // One upright fit and seven rotations.
    expect(runs).toBe(16);
  });

  test('the rotation with the best fit wins, upside down only by a clear margin', async () => {
    const level = new Float32Array(3 * 478);
    level.set([60, 128, 0], 3 * 33);
    level.set([190, 128, 0], 3 * 263);
    const rotationOf = async (logits: number[]) => {
      let run = 0;
      const network = { run: async () => [level, Float32Array.of(logits[run++] ?? -9)] };
      return Math.round(
        (await fitMesh(withDetailed(network), image, detections[0], SINGLE_IMAGE))?.rotation_deg ?? NaN,
      );
    };
    expect(await rotationOf([8, 20, 20])).toBe(0);
    expect(await rotationOf([-3, 6, 4])).toBe(45);
    expect(await rotationOf([-3, -3, 4, 9])).toBeNaN();
    expect(Math.abs(await rotationOf([4, 3, 4, 12]))).toBe(180);
    expect(await rotationOf([4, 6, 4, 3, 3, 12, 14])).toBe(135);
    expect(await rotationOf([4, 6.9, 4])).toBe(0);
  });

  test('the small network fits clear faces by itself', async () => {
    const level = new Float32Array(3 * 478);
    level.set([30, 64, 0], 3 * 33);
    level.set([95, 64, 0], 3 * 263);
    const searchWith = async (logit: number) => {
      const small = { network: { run: async () => [level, Float32Array.of(logit)] }, size: 128 };
      const detailed = { network: { run: async () => [level, Float32Array.of(20)] }, size: 256 };
      return (await searchMesh({ small, detailed }, image, detections[0], SINGLE_IMAGE)).bestLogit;
    };
    expect(await searchWith(6.5)).toBe(6.5);
    expect(await searchWith(5.5)).toBe(20);
  });

  test('the highest presence of all rotations is returned where no mesh fits', async () => {
    const level = new Float32Array(3 * 478);
    level.set([60, 128, 0], 3 * 33);
    level.set([190, 128, 0], 3 * 263);
    let run = 0;
    const network = { run: async () => [level, Float32Array.of([-3, -3, 4, 9][run++] ?? -9)] };
    const { mesh, bestLogit } = await searchMesh(withDetailed(network), image, detections[0], SINGLE_IMAGE);
    expect([mesh, bestLogit]).toEqual([null, 9]);
  });
});

test('rotated fits are tried for the 16 faces with the longest sides', () => {
  const face = (width: number, height: number): Detection => ({
    box: [0, 0, width, height],
    landmarks: [],
    confidence: 1,
  });
  const [wide, small] = [face(40, 10), face(30, 30)];
  const faces = [...Array.from({ length: 15 }, () => face(50, 50)), small, wide];
  const candidates = rotationCandidates(faces);
  expect(candidates.size).toBe(16);
  expect([candidates.has(wide), candidates.has(small)]).toEqual([true, false]);
});

test('calibrated expressions and smoothing weights equal those of Python', () => {
  const python = fixture('expression');
  const manifest = python.manifest as ExpressionManifest;
  python.logits.forEach((logits: number[], index: number) => {
    const quality = python.qualities[index];
    expectClose(calibrate(Float32Array.from(logits), manifest, quality), python.expressions[index]);
    expect(predictionWeight(quality)).toBeCloseTo(python.weights[index]);
  });
});

function toMesh(values: ArrayLike<number>): Mesh {
  return Array.from({ length: values.length / 3 }, (_, point) => [
    values[3 * point],
    values[3 * point + 1],
    values[3 * point + 2],
  ]);
}
