/** The page: reads the perceived expression of faces from a camera, a picture or a video. */

import { App } from './ui/app';
import { showCameras, showSource, wireModels, wireSources, wireWhere } from './ui/controls';

const app = new App((kind, device) => {
  showSource(kind);
  void showCameras(device);
});
wireSources(app);
void wireWhere(app);
void wireModels(app);
