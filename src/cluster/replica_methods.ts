/**
 * The messages of replication as methods: one each, with an answer that says
 * nothing. A message is a wish that may be lost; what comes of it is a message the
 * other way. So nothing is called again by itself, and nobody waits for the answer
 * but to know that there is room for the next.
 *
 * The numbers are wire format (src/rpc/method.ts): 1000 and on.
 *
 * @module
 */

import type { KeysPiece } from "../../storage/mod.ts";
import { type CallMethod, type Codec, json, type Services } from "../rpc/mod.ts";
import {
  beganCodec,
  behindCodec,
  canvassCodec,
  divergedCodec,
  entriesCodec,
  fetchCodec,
  givenCodec,
  mendCodec,
  mendedCodec,
  pieceCodec,
  pieceWishCodec,
  staleCodec,
  standingCodec,
} from "./message_codecs.ts";
import type { Began, GivenBeginning, Message, PieceWish } from "./messages.ts";

export type MessageMethod = CallMethod<Message, undefined>;

type CodecOf<Kind extends Message["kind"]> = Codec<Extract<Message, { readonly kind: Kind }>>;

const nothing: Codec<undefined> = json();

function of<Kind extends Message["kind"]>(
  id: number,
  kind: Kind,
  facts: { readonly about: string; readonly request: CodecOf<Kind> },
): MessageMethod {
  const { about } = facts;
  const request = facts.request as unknown as Codec<Message>; // it is only given its own kind
  return {
    kind: "call",
    id,
    name: `replica.${kind}`,
    about,
    effect: "once",
    request,
    response: nothing,
  };
}

export const MESSAGE_METHODS: { readonly [Kind in Message["kind"]]: MessageMethod } = {
  fetch: of(1000, "fetch", { about: "Where a follower's log ends", request: fetchCodec }),
  entries: of(1001, "entries", { about: "What comes behind it", request: entriesCodec }),
  diverged: of(1002, "diverged", { about: "It must be cut, and why", request: divergedCodec }),
  behind: of(1003, "behind", { about: "What it asks for is gone", request: behindCodec }),
  stale: of(1004, "stale", { about: "The epoch is another", request: staleCodec }),
  mend: of(1005, "mend", { about: "Asks for bytes that are damaged", request: mendCodec }),
  mended: of(1006, "mended", { about: "Those bytes", request: mendedCodec }),
  canvass: of(1007, "canvass", { about: "How far does your log go", request: canvassCodec }),
  standing: of(1008, "standing", { about: "So far", request: standingCodec }),
};

/** Told now and then, to every follower. */
export const BEGAN: CallMethod<Began, undefined> = {
  kind: "call",
  id: 1009,
  name: "replica.began",
  about: "Where the leader's log begins",
  effect: "once",
  request: beganCodec,
  response: nothing,
};

/** What an operator asks of a node: to lead with what it has, whatever others hold. */
export const FORCE: CallMethod<undefined, undefined> = {
  kind: "call",
  id: 1010,
  name: "replica.force",
  about: "Lead now, and accept that what only others hold is lost",
  effect: "once",
  request: json(),
  response: nothing,
};

/** Asked of the leader by whoever lacks the beginning of its log. 1011 was asked for its place alone. */
export const BEGINNING: CallMethod<undefined, GivenBeginning> = {
  kind: "call",
  id: 1012,
  name: "replica.beginning",
  about: "What a log is to know of before its first frame",
  effect: "none",
  request: json(),
  response: givenCodec,
};

export const PIECE: CallMethod<PieceWish, KeysPiece> = {
  kind: "call",
  id: 1013,
  name: "replica.piece",
  about: "Some bytes of a file that goes with a beginning",
  effect: "none",
  request: pieceWishCodec,
  response: pieceCodec,
};

/** Lets `services` take messages; whoever sends one is who it says it is, or it is dropped. */
export function serveMessages(
  services: Services,
  receive: (message: Message, from: string) => void,
): Services {
  for (const method of Object.values(MESSAGE_METHODS)) {
    services.call(method, async (message, { peer }) => {
      const speaks = "member" in message ? message.member.node === peer : true;
      if (speaks) receive(message, peer);
      return undefined;
    });
  }
  return services;
}
