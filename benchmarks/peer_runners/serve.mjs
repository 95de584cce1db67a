// Line protocol of a runner: a path of an image per line in, a JSON object with label and seconds per line out.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Load the variant of the first argument from the environment of the second and answer until the input ends. */
export async function serve(packageName, load) {
  const [variant, folder] = process.argv.slice(2);
  const require = createRequire(`${folder}/package.json`);
  const sharp = require("sharp");
  // packages log while they load and predict: only answers go to the output
  console.log = console.info = console.error;
  const answer = (values) => process.stdout.write(`${JSON.stringify(values)}\n`);
  const { prepare, predict, release } = await load(variant, folder);
  const description = await readFile(`${folder}/node_modules/${packageName}/package.json`, "utf8");
  answer({ version: JSON.parse(description).version });
  for await (const path of createInterface({ input: process.stdin })) {
    const { data, info } = await sharp(path).toColorspace("srgb").removeAlpha().raw().toBuffer({ resolveWithObject: true });
    const tensor = prepare({ data, width: info.width, height: info.height });
    const wall = process.hrtime.bigint();
    const before = process.cpuUsage();
    const label = await predict(tensor);
    const { user, system } = process.cpuUsage(before);
    answer({ label, cpu_s: (user + system) / 1e6, wall_s: Number(process.hrtime.bigint() - wall) / 1e9 });
    release(tensor);
  }
}

/** Let `fetch` read file:// addresses, which Node does not, so that TensorFlow.js loads models from the disk. */
export function useFiles() {
  const fetchRemote = globalThis.fetch;
  globalThis.fetch = async (address, options) =>
    String(address).startsWith("file://") ? new Response(await readFile(fileURLToPath(address))) : fetchRemote(address, options);
}
