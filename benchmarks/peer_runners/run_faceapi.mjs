// face-api on TensorFlow.js, WebAssembly backend, one thread ("tiny", "SSD", "tiny with landmarks", "SSD with landmarks").
import { createRequire } from "node:module";
import { serve, useFiles } from "./serve.mjs";

await serve("@vladmandic/face-api", async (variant, folder) => {
  useFiles();
  const require = createRequire(`${folder}/package.json`);
  const wasm = require("@tensorflow/tfjs-backend-wasm");
  wasm.setThreadsCount(1);
  wasm.setWasmPaths(`${folder}/node_modules/@tensorflow/tfjs-backend-wasm/dist/`);
  const faceapi = require(`${folder}/node_modules/@vladmandic/face-api/dist/face-api.node-wasm.js`);
  await faceapi.tf.setBackend("wasm");
  await faceapi.tf.ready();
  const models = `${folder}/node_modules/@vladmandic/face-api/model`;
  const isTiny = variant.startsWith("tiny");
  await (isTiny ? faceapi.nets.tinyFaceDetector : faceapi.nets.ssdMobilenetv1).loadFromDisk(models);
  await faceapi.nets.faceLandmark68Net.loadFromDisk(models);
  await faceapi.nets.faceExpressionNet.loadFromDisk(models);
  const options = isTiny ? new faceapi.TinyFaceDetectorOptions() : new faceapi.SsdMobilenetv1Options();

  async function predict(tensor) {
    const detection = faceapi.detectSingleFace(tensor, options);
    const task = variant.endsWith("landmarks") ? detection.withFaceLandmarks() : detection;
    const face = await task.withFaceExpressions();
    return face ? face.expressions.asSortedArray()[0].expression : null;
  }

  return {
    prepare: ({ data, width, height }) => faceapi.tf.tensor3d(new Int32Array(data), [height, width, 3], "int32"),
    predict,
    release: (tensor) => faceapi.tf.dispose(tensor),
  };
});
