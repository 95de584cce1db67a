/** Copy models, licenses and documentation of the repository into packages/browser before it is packed. */

import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');
const ASSETS = resolve(ROOT, 'src/mien/assets');
const PACKAGE = resolve(ROOT, 'web/packages/browser');
const MODELS = resolve(PACKAGE, 'models');
/** Tasks whose models the engine runs. */
const TASKS = ['face-detection', 'face-landmarks', 'expression'];

rmSync(resolve(PACKAGE, 'dist'), { recursive: true, force: true });
rmSync(MODELS, { recursive: true, force: true });
mkdirSync(MODELS);
for (const name of modelNames()) {
  for (const suffix of ['.json', '.onnx']) copyFileSync(resolve(ASSETS, name + suffix), resolve(MODELS, name + suffix));
}
copyFileSync(resolve(ASSETS, 'face-geometry.json'), resolve(MODELS, 'face-geometry.json'));
for (const name of ['LICENSE', 'NOTICE', 'LICENSES']) {
  cpSync(resolve(ROOT, name), resolve(PACKAGE, name), { recursive: true });
}
const text = readFileSync(resolve(ROOT, 'docs/browser.md'), 'utf8');
// Other documents are not in the package.
writeFileSync(resolve(PACKAGE, 'README.md'), text.replace(/\[([^\]]+)\]\((?!https?:)[^)]+\)/g, '$1'));

/** Return the names of the models in float32; in WebAssembly, int8 is not faster. */
function modelNames() {
  return readdirSync(ASSETS)
    .filter((file) => file.endsWith('.onnx'))
    .map((file) => file.slice(0, -'.onnx'.length))
    .filter((name) => {
      const { task } = JSON.parse(readFileSync(resolve(ASSETS, `${name}.json`), 'utf8'));
      return TASKS.includes(task) && !name.endsWith('.int8');
    });
}
