/// <reference types="vite/client" />

/** URL and size in bytes of a file that the build stores compressed with gzip, and that is served decompressed. */
declare module '*?gzip' {
  const file: { url: string; size: number };
  export default file;
}
