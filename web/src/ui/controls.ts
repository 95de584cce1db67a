/** The switch, the buttons and the choices. */

import { serverProblem } from '../server/probe';
import type { App } from './app';
import { type CameraChoice, listCameras } from './camera';
import { element, write } from './elements';
import { listModels, readModelCard, showLegend, showModelCard } from './models';
import { fileKind, watchFiles } from './pictures';
import type { Where } from './readers';
import { FILE_KINDS, type Kind } from './sources';

const STOP_WORDS: Record<Kind, string> = { camera: 'Stop the camera', video: 'Close the video', picture: 'Close the picture' };

/** Shows the button that ends what is read, and gives the focus back when it goes. */
export function showSource(kind: Kind | null): void {
  const stop = element('stop', HTMLButtonElement);
  const had_focus = document.activeElement === stop;
  stop.hidden = kind === null;
  if (kind) write(element('stop-text', HTMLElement), STOP_WORDS[kind]);
  else if (had_focus) element('use-camera', HTMLElement).focus();
}

/** The choice between several cameras; hidden where there is one. */
export async function showCameras(device: string): Promise<void> {
  const cameras: CameraChoice[] = device ? await listCameras() : [];
  const select = element('camera', HTMLSelectElement);
  element('camera-choice', HTMLElement).hidden = cameras.length < 2;
  select.replaceChildren(...cameras.map(({ id, name }) => new Option(name, id, id === device, id === device)));
}

/** Camera, picture, video, stop; and files that are dropped or pasted. */
export function wireSources(app: App): void {
  const take = (file: File) => {
    const kind = fileKind(file);
    if (kind) void app.useFile(kind, file);
    else app.tell(`${file.name || 'This'} is neither a picture nor a video.`);
  };
  element('use-camera', HTMLElement).addEventListener('click', () => void app.useCamera());
  element('stop', HTMLElement).addEventListener('click', () => app.stop());
  element('camera', HTMLSelectElement).addEventListener('change', ({ currentTarget }) => {
    void app.useCamera((currentTarget as HTMLSelectElement).value);
  });
  for (const kind of FILE_KINDS) {
    const input = element(`${kind}-file`, HTMLInputElement);
    element(`use-${kind}`, HTMLElement).addEventListener('click', () => input.click());
    input.addEventListener('change', () => {
      if (input.files?.[0]) take(input.files[0]);
      input.value = '';
    });
  }
  watchFiles(element('stage', HTMLElement), take);
  window.addEventListener('pagehide', () => app.stop());
}

/** The switch between this device and the server, with what each means for the pictures. */
export async function wireWhere(app: App): Promise<void> {
  const place = element('place', HTMLElement);
  const switches = [...element('where', HTMLElement).querySelectorAll('input')];
  const set = (where: Where) => {
    place.classList.toggle('sends', where === 'server');
    write(element('place-text', HTMLElement), placeWords(where));
    app.results.announcer.say(placeWords(where));
    void app.setWhere(where);
  };
  for (const input of switches) input.addEventListener('change', () => input.checked && set(input.value as Where));
  const problem = await serverProblem();
  const reason = element('server-reason', HTMLElement);
  write(reason, problem ?? '');
  reason.hidden = problem === null;
  const server = switches.find(({ value }) => value === 'server');
  if (server) server.disabled = problem !== null;
}

function placeWords(where: Where): string {
  return where === 'device'
    ? 'Pictures stay on this device. Nothing is sent or stored.'
    : `Pictures are sent to ${location.host}, which does not keep them.`;
}

/** The choice of a model, and what the chosen one tells about itself. */
export async function wireModels(app: App): Promise<void> {
  const select = element('model', HTMLSelectElement);
  const show = async () => {
    const card = await readModelCard(select.value);
    showModelCard(element('model-card', HTMLElement), select.value, card);
    showLegend(element('legend', HTMLElement), card);
  };
  select.addEventListener('change', () => {
    void app.setModel(select.value);
    show().catch((error: Error) => app.tell(error.message));
  });
  try {
    const { default: usual, models } = await listModels();
    select.replaceChildren(...models.map((name) => new Option(name, name, name === usual, name === usual)));
    void app.setModel(usual);
    await show();
  } catch (error) {
    app.tell(error instanceof Error ? error.message : String(error));
  }
}
