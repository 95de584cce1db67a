/** Kinds of image sources. */

export const FILE_KINDS = ['image', 'video'] as const;
export type FileKind = (typeof FILE_KINDS)[number];

export type Source = { kind: FileKind; file: Blob; name: string } | { kind: 'camera'; stream: MediaStream };
export type SourceKind = Source['kind'];
