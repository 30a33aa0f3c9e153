/**
 * The door of the webhook room: asking a producer over HTTP what becomes of its
 * transaction.
 *
 * What asks is `openCheckCaller` of `caller_node.ts`; it is not here, so that
 * whoever needs the port or the judgements of texts needs no socket.
 *
 * @module
 */

export type { CheckAnswer, CheckCall, CheckCaller, CheckedMessage, Decision } from "./check.ts";
export { secretFault } from "./signature.ts";
export { checkUrlFault, type CheckUrlOptions, URL_LENGTH_MAX } from "./url.ts";
