/**
 * What a decoder throws at bytes that are not the protocol, and nothing else.
 *
 * On a connection it ends the connection: whoever sends such bytes cannot be
 * followed any further. In a payload of a well-sealed frame it ends the call.
 *
 * @module
 */

export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}
