/** Entry point of the page. */

import { App } from './ui/app';
import { connectModels, connectModes, connectSources, showCameras, showStopButton } from './ui/controls';

const app = new App((kind, deviceId) => {
  showStopButton(kind);
  void showCameras(deviceId);
});
connectSources(app);
void connectModes(app);
void connectModels(app);
