/**
 * {@linkcode ProducerGroupsApi} on this node.
 *
 * @module
 */

import type { ProducerGroup, ProducerGroupsApi } from "./api.ts";
import { type Core, commit } from "./core.ts";
import {
  canonicalProducerGroup,
  changedProducerGroup,
  noProducerGroup,
  producerGroupExists,
  sameConfig,
  shownProducerGroup,
} from "./definitions.ts";
import { encodeConfig } from "./entities.ts";
import type { ProducerGroupState } from "./producer_groups.ts";
import type { Shell } from "./shell.ts";
import { pageOf } from "./topics_api.ts";

export function producerGroupsApi(shell: Shell): ProducerGroupsApi {
  const { core } = shell;
  return {
    put: (name, wish) =>
      shell.decide((now) => {
        const config = canonicalProducerGroup(wish);
        const known = core.fold.producerGroups.named(name);
        if (known && !sameConfig(known.config, config)) throw producerGroupExists(name);
        if (!known) {
          shell.checkUrl(config.checkUrl);
          shell.checkSecret(config.checkSecret);
          const generation = core.fold.nextGeneration(now);
          define(core, { name, generation, version: 1, createdAt: now, config, now });
        }
        return { created: !known, producerGroup: show(groupNamed(core, name)) };
      }),
    get: (name) => shell.decide(() => show(groupNamed(core, name))),
    patch: (name, change) =>
      shell.decide((now) => {
        const { config: before, generation, createdAt, version } = groupNamed(core, name);
        const config = changedProducerGroup(before, change);
        if (config.checkUrl !== before.checkUrl) shell.checkUrl(config.checkUrl);
        if (config.checkSecret !== before.checkSecret) shell.checkSecret(config.checkSecret);
        if (!sameConfig(before, config)) {
          define(core, { name, generation, version: version + 1, createdAt, config, now });
        }
        return show(groupNamed(core, name));
      }),
    delete: (name) =>
      shell.decide((now) => {
        const { generation } = groupNamed(core, name);
        commit(core, { kind: "drop", record: { entity: "producerGroup", generation, name }, now });
      }),
    list: (page) =>
      shell.decide(() => {
        const { names, next } = pageOf(core.fold.producerGroups.names(), page);
        const producerGroups = names.map((name) => show(groupNamed(core, name)));
        return next === undefined ? { producerGroups } : { producerGroups, next };
      }),
  };
}

function groupNamed(core: Core, name: string): ProducerGroupState {
  const group = core.fold.producerGroups.named(name);
  if (group) return group;
  throw noProducerGroup(name);
}

function define(
  core: Core,
  { now, config, ...rest }: Omit<ProducerGroupState, "describedAt"> & { readonly now: number },
): void {
  const record = { ...rest, entity: "producerGroup", config: encodeConfig(config) } as const;
  commit(core, { kind: "define", record, now });
}

function show({ name, generation, createdAt, config }: ProducerGroupState): ProducerGroup {
  return { ...shownProducerGroup(config), name, generation, createdAt };
}
