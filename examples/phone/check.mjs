// Read a phone bundle of mien and pass its golden tests: node check.mjs FOLDER
// Everything comes from the bundle: the names, shapes and types of tensors, the labels, and the rules for the mesh.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { InferenceSession, Tensor } from "onnxruntime-node";

const ARRAYS = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array };

/** Read a JSON file of a bundle. */
function readJson(...parts) {
  return JSON.parse(readFileSync(join(...parts), "utf8"));
}

/** The graphs of a bundle, run on one image at a time. */
class Bundle {
  constructor(contract, sessions) {
    this.contract = contract;
    this.sessions = sessions;
  }

  /** Open all graphs; a file that is not the one of the contract is an error. */
  static async open(folder) {
    const contract = readJson(folder, "contract.json");
    if (contract.schema !== 1 || contract.format !== "onnx") {
      throw new Error(`schema ${contract.schema}, format ${contract.format}; this program reads schema 1, format onnx`);
    }
    const sessions = {};
    for (const [name, graph] of Object.entries(contract.graphs)) {
      const data = readFileSync(join(folder, graph.file));
      if (createHash("sha256").update(data).digest("hex") !== graph.sha256) {
        throw new Error(`${graph.file}: its SHA-256 is not that of contract.json`);
      }
      sessions[name] = await InferenceSession.create(data, { intraOpNumThreads: 1, logSeverityLevel: 3 });
    }
    return new Bundle(contract, sessions);
  }

  /** Run a graph on plain arrays by name; return plain arrays by name. */
  async run(name, values) {
    const graph = this.contract.graphs[name];
    const feeds = {};
    for (const { name: input, type, shape } of graph.inputs) {
      feeds[input] = new Tensor(type, ARRAYS[type].from(values[input]), shape);
    }
    const results = await this.sessions[name].run(feeds);
    return Object.fromEntries(graph.outputs.map(({ name: output }) => [output, results[output].data]));
  }

  /** Copy an image (height x width x 3 bytes) into the upper left of the canvas. */
  prepare(pixels, height, width) {
    const { side } = this.contract.canvas;
    const canvas = new Uint8Array(side * side * 3);
    for (let row = 0; row < height; row++) {
      canvas.set(pixels.subarray(row * width * 3, (row + 1) * width * 3), row * side * 3);
    }
    return { image: canvas, size: [height, width] };
  }

  /** Return all outputs for every face of an image, the largest face first. */
  async analyze(pixels, height, width) {
    const image = this.prepare(pixels, height, width);
    const found = await this.run("detector", image);
    const faces = [];
    for (let index = 0; index < found.count[0]; index++) {
      const boxes = found.boxes.slice(4 * index, 4 * index + 4);
      const landmarks = found.landmarks.slice(10 * index, 10 * index + 10);
      const face = { boxes, landmarks, scores: [found.scores[index]] };
      const mesh = this.contract.graphs.mesh ? await this.fitMesh(image, boxes, landmarks) : {};
      const inputs = { ...image, box: boxes, landmarks: mesh.landmarks ?? landmarks };
      faces.push({ ...face, ...mesh.outputs, ...(await this.run("expression", inputs)) });
    }
    return faces;
  }

  /** Fit the mesh until it is level in its crop; return its outputs, and landmarks where they replace the detector's. */
  async fitMesh(image, box, landmarks) {
    const rules = this.contract.mesh;
    const points = (mesh, indices) => indices.flatMap((index) => [mesh[3 * index], mesh[3 * index + 1]]);
    let eyes = landmarks.slice(0, 4);
    let outputs = null;
    for (let pass = 0; pass < rules.max_passes; pass++) {
      const fit = await this.run("mesh", { ...image, box, eyes });
      if (fit.presence[0] < rules.min_presence) break;
      outputs = fit;
      eyes = points(fit.mesh, rules.outer_eyes);
      if (Math.abs(fit.rotation[0]) <= rules.max_tilt_deg) break;
    }
    if (outputs === null) return {};
    const isRotated = Math.abs(angleDegrees(landmarks, eyes)) > rules.max_landmark_rotation_deg;
    return { outputs, ...(isRotated && { landmarks: points(outputs.mesh, rules.detector_landmarks) }) };
  }
}

/** Return the angle from one pair of eyes (x, y, x, y) to another in degrees, -180..180. */
function angleDegrees(first, second) {
  const tilt = (eyes) => Math.atan2(eyes[3] - eyes[1], eyes[2] - eyes[0]);
  const degrees = ((tilt(second) - tilt(first)) * 180) / Math.PI;
  return degrees - 360 * Math.round(degrees / 360);
}

/** Compare the outputs of a face with the golden values; return the number of values, and throw on a difference. */
function compare(place, face, expected, tolerances) {
  let count = 0;
  for (const [name, tolerance] of Object.entries(tolerances)) {
    if (!(name in expected)) throw new Error(`${place}: golden value ${name} is missing`);
    const golden = [expected[name]].flat(2);
    if (golden.length !== face[name].length) {
      throw new Error(`${place}: ${name} has ${golden.length} golden values, the graph returns ${face[name].length}`);
    }
    golden.forEach((value, index) => {
      const difference = Math.abs(face[name][index] - value);
      if (!(difference <= tolerance)) {
        throw new Error(`${place}: ${name}[${index}] is ${face[name][index]}, expected ${value} (+- ${tolerance})`);
      }
    });
    count += golden.length;
  }
  return count;
}

/** Run the golden tests of a bundle and return a line of text. */
async function check(folder) {
  const bundle = await Bundle.open(folder);
  const { labels } = bundle.contract;
  const { cases, tolerances } = readJson(folder, "golden", "golden.json");
  let values = 0;
  for (const { image, height, width, faces: expected } of cases) {
    const pixels = readFileSync(join(folder, "golden", image));
    if (pixels.length !== height * width * 3) throw new Error(`${image}: expected ${height} x ${width} x 3 bytes`);
    const faces = await bundle.analyze(pixels, height, width);
    if (faces.length !== expected.length) {
      throw new Error(`${image}: ${faces.length} faces, expected ${expected.length}`);
    }
    for (const [index, face] of faces.entries()) {
      values += compare(`${image}, face ${index}`, face, expected[index], tolerances);
      console.log(`${image}, face ${index}: ${labels[face.label[0]] ?? "no label"}`);
    }
  }
  if (values === 0) throw new Error("golden.json has no values");
  return `passed: ${cases.length} images, ${values} golden values`;
}

const folder = process.argv[2];
if (folder === undefined) {
  console.error("usage: node check.mjs FOLDER");
  process.exit(2);
}
try {
  console.log(await check(folder));
} catch (error) {
  console.error(`failed: ${error.message}`);
  process.exit(1);
}
