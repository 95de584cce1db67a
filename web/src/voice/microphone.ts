/** Microphone access, its samples and error messages. */

import captureUrl from './capture.ts?worker&url';

/** The sound as it is: processing for calls would change how a voice sounds. */
const CONSTRAINTS: MediaTrackConstraints = {
  channelCount: 1,
  echoCancellation: false,
  noiseSuppression: false,
  autoGainControl: false,
};

export interface Microphone {
  rate_hz: number;
  /** Turn the microphone off. */
  close(): void;
}

/** Receives consecutive blocks of mono samples. */
type OnBlock = (samples: Float32Array<ArrayBuffer>) => void;

/** Open the microphone; `onEnd` is called when it is disconnected. Rejects with a message for the user. */
export async function openMicrophone(onBlock: OnBlock, onEnd: () => void): Promise<Microphone> {
  if (!window.isSecureContext || !navigator.mediaDevices) {
    throw new Error(
      'Browsers allow microphone access only for pages opened over https:// or on http://localhost. ' +
        'Open this page that way.',
    );
  }
  const stream = await navigator.mediaDevices
    .getUserMedia({ audio: CONSTRAINTS, video: false })
    .catch((error: unknown) => {
      throw new Error(microphoneProblem(error instanceof DOMException ? error.name : ''), { cause: error });
    });
  let context: AudioContext | null = null;
  const close = () => {
    for (const track of stream.getTracks()) track.stop();
    void context?.close();
  };
  try {
    context = new AudioContext();
    await capture(context, stream, onBlock);
  } catch (error) {
    close();
    throw new Error('This browser cannot read the sound of the microphone.', { cause: error });
  }
  stream.getAudioTracks()[0].addEventListener('ended', onEnd);
  return { rate_hz: context.sampleRate, close };
}

async function capture(context: AudioContext, stream: MediaStream, onBlock: OnBlock): Promise<void> {
  await context.audioWorklet.addModule(captureUrl);
  const node = new AudioWorkletNode(context, 'capture', { channelCount: 1, channelCountMode: 'explicit' });
  node.port.onmessage = ({ data }) => onBlock(data);
  // Browsers run a node only when it is connected to an output; this one is silent.
  context.createMediaStreamSource(stream).connect(node).connect(context.destination);
  await context.resume();
}

/** Return the message for the name of a browser error. */
function microphoneProblem(name: string): string {
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return (
        'Microphone access was not allowed. Allow it for this page in the browser’s address bar and press Microphone. ' +
        'Camera, images and videos work without it.'
      );
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'No microphone was found. Connect one and press Microphone.';
    case 'NotReadableError':
    case 'AbortError':
      return 'The microphone is in use or does not respond. Close other programs that use it and press Microphone.';
    default:
      return `The microphone did not start${name ? ` (${name})` : ''}. Press Microphone to try again.`;
  }
}
