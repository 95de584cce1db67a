/** The kinds of source that the page reads. */

export const FILE_KINDS = ['picture', 'video'] as const;
export type FileKind = (typeof FILE_KINDS)[number];

export type Source = { kind: FileKind; file: Blob; name: string } | { kind: 'camera'; stream: MediaStream };
export type Kind = Source['kind'];
