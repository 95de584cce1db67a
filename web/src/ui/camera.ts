/** Camera access, error messages and device list. */

const CONSTRAINTS: MediaTrackConstraints = {
  width: { ideal: 640 },
  height: { ideal: 480 },
  frameRate: { ideal: 30 },
};

/** Open a camera by device id, or the user-facing one. Rejects with a message for the user. */
export async function openCamera(deviceId: string): Promise<MediaStream> {
  if (!window.isSecureContext || !navigator.mediaDevices) {
    throw new Error(
      'Browsers allow camera access only for pages opened over https:// or on http://localhost. ' +
        'Open this page that way, or analyze an image or a video.',
    );
  }
  const device: MediaTrackConstraints = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: 'user' };
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { ...CONSTRAINTS, ...device }, audio: false });
  } catch (error) {
    throw new Error(cameraProblem(error instanceof DOMException ? error.name : ''), { cause: error });
  }
}

/** Return the message for the name of a browser error. */
function cameraProblem(name: string): string {
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return (
        'Camera access was not allowed. Allow it for this page in the browser’s address bar and press Camera, ' +
        'or analyze an image or a video.'
      );
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'No camera was found. Connect one and press Camera, or analyze an image or a video.';
    case 'NotReadableError':
    case 'AbortError':
      return 'The camera is in use or does not respond. Close other programs that use it and press Camera.';
    default:
      return `The camera did not start${name ? ` (${name})` : ''}. Press Camera to try again.`;
  }
}

/** Stop every track, which turns off the camera's light. */
export function stopCamera(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

export interface CameraOption {
  id: string;
  name: string;
}

/** List the cameras of this device; browsers give their names only after access was allowed once. */
export async function listCameras(): Promise<CameraOption[]> {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind === 'videoinput' && device.deviceId)
    .map((device, index) => ({ id: device.deviceId, name: device.label || `Camera ${index + 1}` }));
}

/** Return the device id of a stream, and whether the camera faces the user and should be mirrored. */
export function describeCamera(stream: MediaStream): { deviceId: string; isUserFacing: boolean } {
  const settings = stream.getVideoTracks()[0]?.getSettings() ?? {};
  return { deviceId: settings.deviceId ?? '', isUserFacing: settings.facingMode !== 'environment' };
}
