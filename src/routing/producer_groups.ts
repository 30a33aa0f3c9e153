/**
 * {@linkcode ProducerGroupsApi} of a cluster: definitions at the coordinator, with copies
 * in every broker group.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type {
  ProducerGroup,
  ProducerGroupConfig,
  ProducerGroupPatch,
  ProducerGroupsApi,
} from "../broker/api.ts";
import {
  canonicalProducerGroup,
  changedProducerGroup,
  checkUrlOf,
  noProducerGroup,
  producerGroupExists,
  sameConfig,
  shownProducerGroup,
} from "../broker/definitions.ts";
import type { Cluster } from "./cluster.ts";
import type { Definition } from "./definition.ts";

type ProducerGroupDefinition = Definition<"producer-group">;

export function producerGroupsApi(cluster: Cluster): ProducerGroupsApi {
  const { definitions } = cluster;
  return {
    put: (name, config) => put(cluster, { name, config }),
    async get(name) {
      const group = await definitions.readOrRecall("producer-group", name);
      if (!group) throw noProducerGroup(name);
      return show(group);
    },
    patch: (name, change) => patch(cluster, { name, change }),
    delete: (name) => remove(cluster, name),
    async list(page) {
      const { all, next } = await definitions.page("producer-group", page);
      const producerGroups = all.map(show);
      return next === undefined ? { producerGroups } : { producerGroups, next };
    },
  };
}

function show({ name, generation, createdAt, config }: ProducerGroupDefinition): ProducerGroup {
  return { ...shownProducerGroup(config), name, generation, createdAt };
}

async function put(
  cluster: Cluster,
  { name, config: wish }: { readonly name: string; readonly config: ProducerGroupConfig },
): Promise<{ created: boolean; producerGroup: ProducerGroup }> {
  const { definitions, copies } = cluster;
  const config = canonicalProducerGroup(wish);
  const kind = "producer-group" as const;
  for (;;) {
    const known = await definitions.read(kind, name);
    if (known) {
      if (!sameConfig(known.config, config)) throw producerGroupExists(name);
      return { created: false, producerGroup: show(await copies.spread(known)) };
    }
    checkRules(cluster, config);
    const generation = await definitions.nextGeneration();
    const about = { kind, name, generation, version: 1, groups: [], spread: 0, revision: 0 };
    const made = await definitions.write({ ...about, config, createdAt: cluster.clock.now() });
    if (made) return { created: true, producerGroup: show(await copies.spread(made)) };
  }
}

async function patch(
  cluster: Cluster,
  { name, change }: { readonly name: string; readonly change: ProducerGroupPatch },
): Promise<ProducerGroup> {
  const { definitions, copies } = cluster;
  for (;;) {
    const before = await definitions.read("producer-group", name);
    if (!before) throw noProducerGroup(name);
    const config = changedProducerGroup(before.config, change);
    checkRules(cluster, changesOf(before.config, config));
    const version = before.version + 1;
    const same = sameConfig(before.config, config);
    const group = same ? before : await definitions.write({ ...before, config, version });
    if (group) return show(await copies.spread(group));
  }
}

type Checked = Pick<ProducerGroupConfig, "checkUrl" | "checkSecret">;

/** What was taken once is not judged again. */
function changesOf(before: Checked, after: Checked): Checked {
  return {
    checkUrl: after.checkUrl === before.checkUrl ? undefined : after.checkUrl,
    checkSecret: after.checkSecret === before.checkSecret ? undefined : after.checkSecret,
  };
}

/** @throws `check-url-refused`, `validation-failed` */
function checkRules({ checks }: Cluster, { checkUrl, checkSecret }: Checked): void {
  checkUrlOf(checkUrl, checks);
  const secretFault = checkSecret === undefined ? undefined : checks?.secretFault(checkSecret);
  if (secretFault === undefined) return;
  const errors = [{ pointer: "/checkSecret", detail: secretFault }];
  throw new TidegateError("validation-failed", `Cannot use the checkSecret: it ${secretFault}`, {
    errors,
  });
}

async function remove(cluster: Cluster, name: string): Promise<void> {
  for (;;) {
    const group = await cluster.definitions.read("producer-group", name);
    if (!group) throw noProducerGroup(name);
    if (!(await cluster.definitions.remove(group))) continue;
    return await cluster.copies.withdraw(group, cluster.members.known());
  }
}
