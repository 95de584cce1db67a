/** Event handlers of the mode switch, source buttons and camera menu. */

import { serverProblem } from '../server/health';
import type { Mode } from './activeBackend';
import type { App } from './app';
import { type CameraOption, listCameras } from './camera';
import { byId, setText } from './dom';
import { connectDownloads } from './downloads';
import { selectFiles, watchFiles } from './files';
import { FILE_KINDS, type SourceKind } from './sources';

const STOP_TEXTS: Record<SourceKind, string> = {
  camera: 'Stop the camera',
  video: 'Close the video',
  image: 'Close',
};

/** Show the stop button for a source; hide it for null and move the focus away from it. */
export function showStopButton(kind: SourceKind | null): void {
  const stop = byId('stop', HTMLButtonElement);
  const hadFocus = document.activeElement === stop;
  stop.hidden = kind === null;
  if (kind) setText(byId('stop-text', HTMLElement), STOP_TEXTS[kind]);
  else if (hadFocus) byId('use-camera', HTMLElement).focus();
}

/** Number of the calls of `showCameras`. */
let listings = 0;

/** Show the camera menu, if there are several cameras; hide it for an empty id and move the focus away from it. */
export async function showCameras(deviceId: string): Promise<void> {
  const listing = ++listings;
  const cameras: CameraOption[] = deviceId ? await listCameras() : [];
  if (listing !== listings) return;
  const menu = byId('camera', HTMLSelectElement);
  const hadFocus = document.activeElement === menu;
  const isHidden = cameras.length < 2;
  byId('camera-option', HTMLElement).hidden = isHidden;
  menu.replaceChildren(...cameras.map(({ id, name }) => new Option(name, id, id === deviceId, id === deviceId)));
  if (hadFocus && isHidden) byId('use-camera', HTMLElement).focus();
}

/** Connect the source buttons and accept dropped and pasted files. */
export function connectSources(app: App): void {
  const open = (files: File[]) => {
    const { notice, ...selection } = selectFiles(files);
    if (selection.images.length > 0) void app.openImages(selection.images);
    else if (selection.video) void app.openVideo(selection.video);
    if (notice) app.showNotice(notice);
  };
  byId('use-camera', HTMLElement).addEventListener('click', () => void app.openCamera());
  byId('stop', HTMLElement).addEventListener('click', () => app.stop());
  const camera = byId('camera', HTMLSelectElement);
  camera.addEventListener('change', () => void app.openCamera(camera.value));
  for (const kind of FILE_KINDS) {
    const input = byId(`${kind}-file`, HTMLInputElement);
    byId(`use-${kind}`, HTMLElement).addEventListener('click', () => input.click());
    input.addEventListener('change', () => {
      const files = [...(input.files ?? [])];
      input.value = '';
      if (files.length > 0) open(files);
    });
  }
  watchFiles(byId('viewer', HTMLElement), open);
  connectDownloads(
    () => app.report,
    (error) => app.showNotice(error),
  );
  window.addEventListener('pagehide', () => app.stop());
}

/** Connect the switches of the mode and of the action units, and check whether a server is available. */
export async function connectModes(app: App): Promise<void> {
  const privacy = byId('privacy', HTMLElement);
  const inputs = [...byId('mode', HTMLElement).querySelectorAll('input')];
  const show = (mode: Mode) => {
    for (const input of inputs) input.checked = input.value === mode;
    privacy.classList.toggle('uploads', mode === 'server');
    setText(byId('privacy-text', HTMLElement), privacyText(mode));
    byId('action-units-option', HTMLElement).hidden = mode === 'device';
    app.results.announcer.announce(privacyText(mode));
  };
  // The user may decline to send the open file.
  const select = async (mode: Mode) => show(await app.setMode(mode));
  for (const input of inputs) {
    input.addEventListener('change', () => input.checked && void select(input.value as Mode));
  }
  const units = byId('action-units', HTMLInputElement);
  units.addEventListener('change', () => void app.setActionUnits(units.checked));
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
