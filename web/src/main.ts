/** Entry point of the page. */

import { App } from './ui/app';
import { connectModels, connectModes, connectSources, showCameras, showStopButton } from './ui/controls';
import { Listening } from './ui/listening';

const app = new App((kind, deviceId) => {
  showStopButton(kind);
  void showCameras(deviceId);
});
connectSources(app);
new Listening({
  announcer: app.results.announcer,
  showNotice: (text) => app.showNotice(text),
  faceDuring: (start_s, end_s) => app.faceDuring(start_s, end_s),
});
void connectModes(app);
void connectModels(app);
