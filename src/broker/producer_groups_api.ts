/**
 * {@linkcode ProducerGroupsApi} on this node.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { ProducerGroup, ProducerGroupConfig, ProducerGroupsApi } from "./api.ts";
import { type Core, commit } from "./core.ts";
import { encodeConfig } from "./entities.ts";
import type { ProducerGroupState } from "./producer_groups.ts";
import type { Shell } from "./shell.ts";
import { pageOf } from "./topics_api.ts";

export function producerGroupsApi(shell: Shell): ProducerGroupsApi {
  const { core } = shell;
  return {
    put: (name, wish) =>
      shell.decide((now) => {
        const config = canonical(wish);
        const known = core.fold.producerGroups.named(name);
        if (known && !same(known.config, config)) {
          const detail = `Cannot create producer group "${name}": it exists with another configuration`;
          throw new TidegateError("producer-group-exists", detail, { producerGroup: name });
        }
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
        const given = Object.entries(change).filter(([, value]) => value !== undefined);
        const changed = Object.fromEntries(given.map(([key, value]) => [key, value ?? undefined]));
        const config = canonical({ ...before, ...changed });
        if (config.checkUrl !== before.checkUrl) shell.checkUrl(config.checkUrl);
        if (config.checkSecret !== before.checkSecret) shell.checkSecret(config.checkSecret);
        if (!same(before, config)) {
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
  const detail = `Cannot find producer group "${name}": no producer group has this name`;
  throw new TidegateError("producer-group-not-found", detail, { producerGroup: name });
}

function define(
  core: Core,
  { now, config, ...rest }: Omit<ProducerGroupState, "describedAt"> & { readonly now: number },
): void {
  const record = { ...rest, entity: "producerGroup", config: encodeConfig(config) } as const;
  commit(core, { kind: "define", record, now });
}

function show({ name, generation, createdAt, config }: ProducerGroupState): ProducerGroup {
  const { checkSecret, ...rest } = config;
  return { ...rest, name, generation, createdAt, checkSecretSet: checkSecret !== undefined };
}

/** Members in one order, so that equal configurations are equal texts. */
function canonical(config: ProducerGroupConfig): ProducerGroupConfig {
  const { checkUrl, checkSecret, firstCheckMs, checkIntervalMs, maxChecks } = config;
  return {
    ...(checkUrl !== undefined && { checkUrl }),
    ...(checkSecret !== undefined && { checkSecret }),
    firstCheckMs,
    checkIntervalMs,
    maxChecks,
  };
}

function same(a: ProducerGroupConfig, b: ProducerGroupConfig): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
