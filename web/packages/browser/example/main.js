import { createAnalyzer } from '@mien/browser/worker';

const [file, camera, video, output] = ['input', 'button', 'video', 'output'].map((name) =>
  document.querySelector(name),
);
file.onchange = () => report(analyzeFile);
camera.onclick = () => report(analyzeCamera);

const model = new URLSearchParams(location.search).get('model') ?? 'mobile';
const loading = createAnalyzer({ model });
report(async () => {
  output.textContent = `Ready: ${(await loading).runtime}`;
});

async function analyzeFile() {
  const mien = await loading;
  const { faces } = await mien.analyze(file.files[0]);
  output.textContent = JSON.stringify(faces, null, 1);
}

async function analyzeCamera() {
  const tracker = (await loading).createTracker();
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  await video.play();
  while (video.srcObject.active) {
    const { faces } = await tracker.analyze(video);
    output.textContent = faces.map(describe).join('\n');
    await new Promise(requestAnimationFrame);
  }
}

/** Run a task and show why it failed: no models, no access to the camera, a file that is not an image, ... */
async function report(task) {
  try {
    await task();
  } catch (error) {
    output.textContent = error.message;
  }
}

/** Describe a face by its smoothed expression, which has no label when the model is uncertain. */
function describe({ track_id, smoothed }) {
  return `face ${track_id}: ${smoothed?.label ?? 'uncertain'} (${Math.round(100 * (smoothed?.confidence ?? 0))}%)`;
}
