/** Print the results of the installed package for raw RGB images; standard input names runtime, model and images. */

import { readFileSync } from 'node:fs';
import { createAnalyzer } from '@mien/browser';

const { runtime, provider, model, images } = JSON.parse(readFileSync(0, 'utf8'));
const mien = await createAnalyzer({ model, provider, threads: 1, runtime: runtime && (await import(runtime)) });
const results = [];
for (const { path, width, height } of images) {
  results.push(await mien.analyze({ data: readFileSync(path), width, height }));
}
await mien.close();
console.log(JSON.stringify(results));
