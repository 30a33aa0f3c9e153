/**
 * Searching a topic: by an index key, by when messages became visible, or both; the last first.
 *
 * The KeyIndex nominates by a hash, and the key is compared in the message. A page looks at a bounded
 * number of places and segments, and may end early, even empty, with a token to go on; what it looked
 * at nobody looks at again. A message whose bytes are damaged cannot be compared, and is stepped over:
 * the damage is reported elsewhere.
 *
 * @module
 */

import type { SearchPage, SearchRequest } from "./api.ts";
import { loadPayloads, storedMessage } from "./bodies.ts";
import { topicToRead } from "./by_id.ts";
import { fillPage, PageBuilder, readAhead } from "./page.ts";
import { decodeSearchToken, encodeSearchToken, type SearchPosition } from "./page_token.ts";
import type { LogReader } from "./reading.ts";
import { BackwardSource, KeySource } from "./search_sources.ts";
import type { Shell } from "./shell.ts";
import type { TopicState } from "./topics.ts";
import type { UnitSource } from "./unit_source.ts";

/** @throws `topic-not-found`, `invalid-cursor`, `cursor-generation` */
export async function search(
  shell: Shell,
  { reader, request }: { readonly reader: LogReader; readonly request: SearchRequest },
): Promise<SearchPage> {
  const { store } = shell;
  const topic = await topicToRead(shell, request.topic);
  const position = await startOf(shell, { reader, topic, request });
  const wanted = { index: request.index };
  const page = new PageBuilder(request, { position, wanted, overDamage: true });
  const source = await sourceOf(shell, { topic, request, position });
  await fillPage(page, {
    source,
    load: (visible) => loadPayloads(store, { topic, visible }),
    pause: () => shell.pause(),
  });
  const token = (at: SearchPosition) => encodeSearchToken(at, { topic, request });
  const places = request.cursors && {
    cursors: page.kept.map(({ after }) => token(after)),
    from: token(position),
  };
  const messages = page.kept.map((kept) => storedMessage(topic, kept));
  await source.fill();
  const ended = !page.cutShort && source.peek() === undefined;
  if (ended && source.exhausted) return { messages, ...places };
  const next = ended ? source.end : page.position;
  return { messages, next: token(next), ...places };
}

async function startOf(
  { store }: Shell,
  about: {
    readonly reader: LogReader;
    readonly topic: TopicState;
    readonly request: SearchRequest;
  },
): Promise<SearchPosition> {
  const { reader, topic, request } = about;
  if (request.after !== undefined) return decodeSearchToken(request.after, about);
  const { to } = request;
  const end = store.log.confirmOffset;
  const logOffset = to === undefined ? end : await reader.logOffsetOf(topic, to);
  return { logOffset, rank: 0, queueOffset: 0 };
}

function sourceOf(
  { store }: Shell,
  about: {
    readonly topic: TopicState;
    readonly request: SearchRequest;
    readonly position: SearchPosition;
  },
): UnitSource<SearchPosition> | Promise<UnitSource<SearchPosition>> {
  const { topic, request, position: before } = about;
  const { index, from = 0, limit } = request;
  const range = { topic, before, from };
  if (index !== undefined) return new KeySource(store, { ...range, index });
  const ahead = readAhead({ limit, wanted: {} }, topic.config.queues);
  return new BackwardSource(store, { ...range, ahead }).start();
}
