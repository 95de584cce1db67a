/** Event handlers of the mode switch, source buttons and menus. */

import { serverProblem } from '../server/health';
import type { Mode } from './activeBackend';
import type { App } from './app';
import { type CameraOption, listCameras } from './camera';
import { byId, setText } from './dom';
import { fileKind, watchFiles } from './files';
import { fetchModelCard, listModels, showLegend, showModelCard } from './models';
import { FILE_KINDS, type SourceKind } from './sources';

const STOP_TEXTS: Record<SourceKind, string> = {
  camera: 'Stop the camera',
  video: 'Close the video',
  image: 'Close the image',
};

/** Show the stop button for a source; hide it for null and move the focus away from it. */
export function showStopButton(kind: SourceKind | null): void {
  const stop = byId('stop', HTMLButtonElement);
  const hadFocus = document.activeElement === stop;
  stop.hidden = kind === null;
  if (kind) setText(byId('stop-text', HTMLElement), STOP_TEXTS[kind]);
  else if (hadFocus) byId('use-camera', HTMLElement).focus();
}

/** Show the camera menu, if there are several cameras. */
export async function showCameras(deviceId: string): Promise<void> {
  const cameras: CameraOption[] = deviceId ? await listCameras() : [];
  byId('camera-option', HTMLElement).hidden = cameras.length < 2;
  byId('camera', HTMLSelectElement).replaceChildren(
    ...cameras.map(({ id, name }) => new Option(name, id, id === deviceId, id === deviceId)),
  );
}

/** Connect the source buttons and accept dropped and pasted files. */
export function connectSources(app: App): void {
  const open = (file: File) => {
    const kind = fileKind(file);
    if (kind) void app.openFile(kind, file);
    else app.showNotice(`${file.name || 'The file'} is neither an image nor a video.`);
  };
  byId('use-camera', HTMLElement).addEventListener('click', () => void app.openCamera());
  byId('stop', HTMLElement).addEventListener('click', () => app.stop());
  const camera = byId('camera', HTMLSelectElement);
  camera.addEventListener('change', () => void app.openCamera(camera.value));
  for (const kind of FILE_KINDS) {
    const input = byId(`${kind}-file`, HTMLInputElement);
    byId(`use-${kind}`, HTMLElement).addEventListener('click', () => input.click());
    input.addEventListener('change', () => {
      if (input.files?.[0]) open(input.files[0]);
      input.value = '';
    });
  }
  watchFiles(byId('viewer', HTMLElement), open);
  window.addEventListener('pagehide', () => app.stop());
}

/** Connect the switch between device and server, and check whether a server is available. */
export async function connectModes(app: App): Promise<void> {
  const privacy = byId('privacy', HTMLElement);
  const inputs = [...byId('mode', HTMLElement).querySelectorAll('input')];
  const select = (mode: Mode) => {
    privacy.classList.toggle('uploads', mode === 'server');
    setText(byId('privacy-text', HTMLElement), privacyText(mode));
    app.results.announcer.announce(privacyText(mode));
    void app.setMode(mode);
  };
  for (const input of inputs) {
    input.addEventListener('change', () => input.checked && select(input.value as Mode));
  }
  const problem = await serverProblem();
  const reason = byId('server-reason', HTMLElement);
  setText(reason, problem ?? '');
  reason.hidden = problem === null;
  const server = inputs.find(({ value }) => value === 'server');
  if (server) server.disabled = problem !== null;
}

function privacyText(mode: Mode): string {
  return mode === 'device'
    ? 'Images stay on this device. Nothing is sent or stored.'
    : `Images are sent to ${location.host}, which does not store them.`;
}

/** Connect the model menu and the model card. */
export async function connectModels(app: App): Promise<void> {
  const menu = byId('model', HTMLSelectElement);
  const show = async () => {
    const card = await fetchModelCard(menu.value);
    showModelCard(byId('model-card', HTMLElement), menu.value, card);
    showLegend(byId('legend', HTMLElement), card);
  };
  menu.addEventListener('change', () => {
    void app.setModel(menu.value);
    show().catch((error: Error) => app.showNotice(error.message));
  });
  try {
    const { default: preselected, models } = await listModels();
    menu.replaceChildren(...models.map((name) => new Option(name, name, name === preselected, name === preselected)));
    void app.setModel(preselected);
    await show();
  } catch (error) {
    app.showNotice(error instanceof Error ? error.message : String(error));
  }
}
