/** Kinds of image sources. */

import type { Gallery } from './gallery';

export const FILE_KINDS = ['image', 'video'] as const;
export type FileKind = (typeof FILE_KINDS)[number];

export type Source =
  | { kind: 'image'; gallery: Gallery }
  | { kind: 'video'; name: string }
  | { kind: 'camera'; stream: MediaStream };
export type SourceKind = Source['kind'];

/** Return the name of a video or of the selected image; a camera is called "camera". */
export function nameOf(source: Source): string {
  switch (source.kind) {
    case 'image':
      return source.gallery.current.name;
    case 'video':
      return source.name;
    case 'camera':
      return 'camera';
  }
}
