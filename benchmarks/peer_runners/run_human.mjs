// Human on TensorFlow.js, WebAssembly backend, one thread ("without mesh", "with mesh").
import { createRequire } from "node:module";
import { serve, useFiles } from "./serve.mjs";

await serve("@vladmandic/human", async (variant, folder) => {
  useFiles();
  const require = createRequire(`${folder}/package.json`);
  const wasm = require("@tensorflow/tfjs-backend-wasm");
  require("@tensorflow/tfjs-backend-cpu");
  wasm.setThreadsCount(1);
  const { Human } = require(`${folder}/node_modules/@vladmandic/human/dist/human.node-wasm.js`);
  const disabled = { enabled: false };
  const human = new Human({
    backend: "wasm",
    wasmPath: `${folder}/node_modules/@tensorflow/tfjs-backend-wasm/dist/`,
    modelBasePath: `file://${folder}/node_modules/@vladmandic/human/models/`,
    debug: false,
    async: false,
    cacheSensitivity: 0,
    filter: disabled,
    gesture: disabled,
    body: disabled,
    hand: disabled,
    object: disabled,
    segmentation: disabled,
    face: {
      enabled: true,
      mesh: { enabled: variant === "with mesh" },
      iris: disabled,
      description: disabled,
      emotion: { enabled: true, minConfidence: 0 },
    },
  });
  await human.load();
  return {
    prepare: ({ data, width, height }) => human.tf.tensor(new Float32Array(data), [1, height, width, 3], "float32"),
    predict: async (tensor) => (await human.detect(tensor)).face[0]?.emotion?.[0]?.emotion ?? null,
    release: (tensor) => human.tf.dispose(tensor),
  };
});
