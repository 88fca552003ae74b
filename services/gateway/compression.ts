import compress from 'koa-compress';

const bytesMin = 2_048;

/** Compresses large answers for who takes it. Not an event stream: each event has to be out at once, so that says "no-transform". */
export const compressAnswers = () => compress({ threshold: bytesMin, br: {}, gzip: {}, zstd: false, deflate: false });
