/** Kinds of image sources. */

import type { Gallery } from './gallery';

export const FILE_KINDS = ['image', 'video'] as const;
export type FileKind = (typeof FILE_KINDS)[number];

export type Source =
  | { kind: 'image'; gallery: Gallery }
  | { kind: 'video'; name: string }
  | { kind: 'camera'; stream: MediaStream };
export type SourceKind = Source['kind'];
