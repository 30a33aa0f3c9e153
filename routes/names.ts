/**
 * Names of topics, groups and producer groups: letters, digits, `.`, `_`, `-`,
 * so that they need no escaping in a path, a JSON string or a header.
 *
 * @module
 */

import type { GatewayContext } from "./call.ts";
import { malformed } from "./problem.ts";

export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$/;

/** The `{topic}` of the path. @throws `invalid-request` */
export function topicOf(c: GatewayContext): string {
  const topic = c.req.param("topic") ?? "";
  if (NAME.test(topic)) return topic;
  throw malformed("/path/topic", `the topic's name must match ${NAME.source}`);
}
