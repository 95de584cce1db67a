import { createAnalyzer } from '@mien/browser/worker';

const [file, camera, video, output] = ['input', 'button', 'video', 'output'].map((name) =>
  document.querySelector(name),
);
const mien = await createAnalyzer({ model: new URLSearchParams(location.search).get('model') ?? 'mobile' });
const tracker = mien.createTracker();
output.textContent = `Ready: ${mien.runtime}`;

file.onchange = async () => {
  const { faces } = await mien.analyze(file.files[0]);
  output.textContent = JSON.stringify(faces, null, 1);
};

camera.onclick = async () => {
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  await video.play();
  while (video.srcObject.active) {
    const { faces } = await tracker.analyze(video);
    output.textContent = faces.map(describe).join('\n');
    await new Promise(requestAnimationFrame);
  }
};

/** Describe a face by its smoothed expression, which has no label when the model is uncertain. */
function describe({ track_id, smoothed }) {
  return `face ${track_id}: ${smoothed?.label ?? 'uncertain'} (${Math.round(100 * (smoothed?.confidence ?? 0))}%)`;
}
