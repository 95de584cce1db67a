/** Weights of face and voice in their pool: port of `mien/fusion/reliability.py`. */

/** Conflict from which the pool has no label: it can peak at a class that neither face nor voice has. */
export const MAX_CONFLICT = 0.5;
/** Factor of every voice: the classes of the shipped model were never measured on another corpus than EmoDB. */
const VOICE_TRUST = 0.5;
/** Frames of a face with which its weight is half of its maximum. */
const HALF_FRAMES = 2;
/** Seconds of speech with which the weight of a voice is half of its maximum. */
const HALF_SPEECH_S = 0.35;

/** Return the reliability of the mean prediction for a face, 0..1. */
export function faceWeight(face: { frames: number; frontality: number; visible: number }): number {
  return (face.frames / (face.frames + HALF_FRAMES)) * face.frontality * face.visible;
}

/** Return the reliability of a voice, 0..1; `share` is that of the classes that faces have too. */
export function voiceWeight(voice: { speech_s: number; share: number; clipped: number }): number {
  return VOICE_TRUST * (voice.speech_s / (voice.speech_s + HALF_SPEECH_S)) * voice.share * (1 - voice.clipped);
}
