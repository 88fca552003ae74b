import { Failure } from '#shared/errors.ts';

/** Why a call ends whose client has closed the connection. Nobody is told. */
export const clientLeft = new Failure('invalid', 'the client has left');
