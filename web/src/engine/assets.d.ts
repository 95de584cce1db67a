/// <reference types="vite/client" />

/** URL of a file that the build compresses with gzip; uncompressed in development. */
declare module '*?gzip' {
  const url: string;
  export default url;
}
