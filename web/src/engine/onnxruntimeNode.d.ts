/** `onnxruntime-node` is installed by users in Node.js; it is not a dependency of the page. */
declare module 'onnxruntime-node' {
  export * from 'onnxruntime-common';
}
