/**
 * How much of a body each kind of operation takes. Each bound protects memory:
 * a body is buffered whole before it is looked at.
 *
 * @module
 */

import { LIMITS } from "../storage/base/message.ts";
import type { BodyLimit } from "./ports.ts";

export const MESSAGE_BODY: BodyLimit = { bytes: LIMITS.bodyBytes, code: "message-too-large" };
export const BATCH_BODY: BodyLimit = { bytes: 16 * 1024 * 1024, code: "body-too-large" };
/** Definitions, receives and settlements: 10 000 receipts fit. */
export const CONTROL_BODY: BodyLimit = { bytes: 2 * 1024 * 1024, code: "body-too-large" };
