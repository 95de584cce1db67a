/** Loading of the voice models; they are downloaded, verified and stored like those of faces. */

import { openWebAssembly } from '../device/runtime';
import { Progress } from '../engine/download';
import { Loader } from '../engine/models';
import type { VoiceModels } from './analyzer';

/** A second thread gains nothing on these small networks, and the camera needs it. */
const THREADS = 1;

/** Load the voice models from a folder URL. Rejects with a message for the user. */
export async function loadVoiceModels(folder: string, report: (fraction: number) => void): Promise<VoiceModels> {
  const progress = new Progress(report);
  const loader = new Loader({ folder, fetch: globalThis.fetch }, progress);
  const [runtime, activity, expression] = await Promise.all([
    openWebAssembly(progress, THREADS),
    loader.load('voice-activity', 'voice-activity'),
    loader.load('voice', 'voice-expression'),
  ]);
  return {
    activity: await runtime.open(activity.bytes),
    expression: await runtime.open(expression.bytes),
    manifest: expression.manifest,
  };
}
