/**
 * Errors cross as what they are: code, message and details, as JSON.
 *
 * What is no `TidegateError` is `internal` on the other side, without a word of
 * it, and so is a code that a newer build has and this one does not know.
 *
 * @module
 */

import {
  CODES,
  type ErrorCode,
  type ErrorDetails,
  TidegateError,
} from "../../storage/base/errors.ts";
import { type Codec, json } from "./codec.ts";
import { ProtocolError } from "./protocol_error.ts";

interface ErrorOnWire {
  readonly code: string;
  readonly message: string;
  readonly details?: ErrorDetails;
}

const wire = json<ErrorOnWire>();

export const errorCodec: Codec<TidegateError> = {
  write(writer, { code, message, details }) {
    wire.write(writer, { code, message, details });
  },
  read(reader) {
    const read = wire.read(reader) as Partial<ErrorOnWire> | null | undefined;
    if (typeof read?.code !== "string" || typeof read.message !== "string") {
      throw new ProtocolError("an error has no code");
    }
    const { code, message, details } = read;
    const known = typeof details === "object" && details !== null ? details : {};
    if (Object.hasOwn(CODES, code)) return new TidegateError(code as ErrorCode, message, known);
    return new TidegateError("internal", `Another node failed with "${code}": ${message}`, known);
  },
};

/** What may be told of a failure; a stranger's words may not. */
export function tellable(error: unknown): TidegateError {
  if (error instanceof TidegateError) return error;
  return new TidegateError("internal", "Cannot answer the call: the node failed");
}
