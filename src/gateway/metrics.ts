/**
 * The figures of the gateway: requests, and what is held open.
 *
 * @module
 */

import { counter, type Family, gauge } from "../../storage/base/metrics.ts";
import type { SharedFeeds } from "./feeds.ts";
import type { WaitingRequests } from "./holds.ts";
import type { RequestFigures } from "./request_figures.ts";
import type { Streams } from "./streams.ts";

export function gatewayMetrics(parts: {
  readonly requests: RequestFigures;
  readonly inFlight: number;
  readonly holds: WaitingRequests;
  readonly streams: Streams;
  readonly feeds: SharedFeeds;
}): Family[] {
  const { requests, inFlight, holds, streams, feeds } = parts;
  return [
    ...requests.families(),
    gauge({
      name: "tidegate_http_requests_in_flight",
      help: "Requests that are not answered yet, held ones among them",
      value: inFlight,
    }),
    gauge({
      name: "tidegate_http_held_requests",
      help: "Requests that wait: long-polls and receives",
      value: holds.size,
    }),
    gauge({
      name: "tidegate_stream_subscribers",
      help: "Event streams that are open, or still hold bytes for their reader",
      value: streams.size,
    }),
    gauge({
      name: "tidegate_stream_feeds",
      help: "Feeds, which read a log for all streams that want the same of it",
      value: feeds.size,
    }),
    counter({
      name: "tidegate_stream_bytes_total",
      help: "Bytes given to the connections of event streams",
      value: streams.sentBytes,
    }),
    counter({
      name: "tidegate_stream_reconnects_total",
      help: "Readers of event streams that were told to come back, by reason",
      samples: Array.from(streams.toldToReconnect, ([reason, value]) => ({
        labels: { reason },
        value,
      })),
    }),
  ];
}
