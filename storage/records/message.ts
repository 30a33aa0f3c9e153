/**
 * A message. Its payload is the one format the gateway reads as well, so its
 * layout and codec are in `base/message.ts`.
 *
 * @module
 */

import { decodeMessage, encodeMessage, type Message, messageSizeMax } from "../base/message.ts";
import { describeFields, type RecordKind } from "./kind.ts";

export const messageKind: RecordKind<Message> = {
  id: 1,
  name: "message",
  encode(message) {
    const target = new Uint8Array(messageSizeMax(message, message.body.length));
    const parts = { envelope: message, attributes: message, body: message.body };
    return target.subarray(0, encodeMessage(target, 0, parts));
  },
  decode: decodeMessage,
  describe: ({ body, index, properties, ...rest }) =>
    describeFields({
      ...rest,
      ...(index.length > 0 && { index }),
      ...(properties.length > 0 && { properties: Object.fromEntries(properties) }),
      bodySize: body.length,
    }),
};
