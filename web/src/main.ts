/** Entry point of the page. */

import { App } from './ui/app';
import { connectModes, connectSources, showCameras, showStopButton } from './ui/controls';
import { Listening } from './ui/listening';
import { ModelMenu } from './ui/modelMenu';

const models = new ModelMenu(
  () => void app.restart(),
  (error) => app.showNotice(error),
);
const app = new App({
  onSourceChange: (kind, deviceId) => {
    showStopButton(kind);
    void showCameras(deviceId);
  },
  loadModel: () => models.load(),
});
connectSources(app);
new Listening({
  announcer: app.results.announcer,
  showNotice: (text) => app.showNotice(text),
  faceDuring: (start_s, end_s) => app.faceDuring(start_s, end_s),
});
void connectModes(app);
models.load().catch((error: unknown) => app.showNotice(error));
