/// <reference types="vite/client" />

/** The address of a file that the build compresses with gzip; in development it is not compressed. */
declare module '*?gzip' {
  const address: string;
  export default address;
}
