/** The camera: opening it, naming what went wrong, choosing between several. */

const WISH: MediaTrackConstraints = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };

/** Opens a camera. Rejects with a message for people. */
export async function openCamera(device: string): Promise<MediaStream> {
  if (!window.isSecureContext || !navigator.mediaDevices) {
    throw new Error(
      'Browsers give the camera only to pages opened over https:// or on http://localhost. ' +
        'Open this page that way; pictures and videos work here too.',
    );
  }
  const choice: MediaTrackConstraints = device ? { deviceId: { exact: device } } : { facingMode: 'user' };
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { ...WISH, ...choice }, audio: false });
  } catch (error) {
    throw new Error(cameraProblem(error instanceof DOMException ? error.name : ''), { cause: error });
  }
}

/** What to do about a camera that did not start, by the name of the browser's error. */
export function cameraProblem(name: string): string {
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return (
        'The camera was not allowed. Allow it for this page in the browser’s address bar and press Camera again; ' +
        'pictures and videos work without it.'
      );
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'No camera was found. Connect one and press Camera again, or take a picture or a video file.';
    case 'NotReadableError':
    case 'AbortError':
      return 'The camera is in use or does not answer. Close the other program that has it and press Camera again.';
    default:
      return `The camera did not start${name ? ` (${name})` : ''}. Press Camera to try again.`;
  }
}

/** Stops every track, so that the camera's light goes out. */
export function closeCamera(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

export interface CameraChoice {
  id: string;
  name: string;
}

/** The cameras of this device; their names are known once one has been allowed. */
export async function listCameras(): Promise<CameraChoice[]> {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind === 'videoinput' && device.deviceId)
    .map((device, index) => ({ id: device.deviceId, name: device.label || `Camera ${index + 1}` }));
}

/** The device of a stream, and whether it looks at who sits before the screen, so that people expect a mirror. */
export function describeCamera(stream: MediaStream): { device: string; faces_user: boolean } {
  const settings = stream.getVideoTracks()[0]?.getSettings() ?? {};
  return { device: settings.deviceId ?? '', faces_user: settings.facingMode !== 'environment' };
}
