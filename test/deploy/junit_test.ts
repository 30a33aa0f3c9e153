/**
 * The reports of the three runners, as they wrote them for one and the same
 * file, are read as the same tests.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fileSeconds, parseJunit } from "../../deploy/junit.mjs";

const BUN = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="4" failures="1" skipped="1">
  <testsuite name="test/a_test.ts" file="test/a_test.ts" tests="4" failures="1" skipped="1">
    <testsuite name="alpha" file="test/a_test.ts" line="3" tests="3" failures="1" skipped="1">
      <testcase name="skips" classname="alpha" time="0" file="test/a_test.ts" line="5">
        <skipped />
      </testcase>
      <testcase name="fails" classname="alpha" time="0.002" file="test/a_test.ts" line="6">
        <failure type="AssertionError" message="1 !== 2&#10;">at test/a_test.ts:6</failure>
      </testcase>
      <testsuite name="nested" file="test/a_test.ts" line="7" tests="1" failures="0" time="0.008">
        <testcase name="is &lt;fine&gt;" classname="nested &gt; alpha" time="0.008" file="test/a_test.ts" line="7" />
      </testsuite>
    </testsuite>
    <testcase name="top" classname="" time="0.00002" file="test/a_test.ts" line="9" />
  </testsuite>
</testsuites>`;

const DENO = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="6" failures="2" errors="0" time="0.189">
    <testsuite name="./test/a_test.ts" tests="2" disabled="0" errors="0" failures="1">
        <testcase name="alpha" classname="./test/a_test.ts" time="0.010" line="3" col="1">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="top" classname="./test/a_test.ts" time="0.000" line="9" col="1">
        </testcase>
    </testsuite>
    <testsuite name="ext:deno_node/testing.ts" tests="4" disabled="1" errors="0" failures="1">
        <testcase name="alpha &gt; skips" classname="ext:deno_node/testing.ts" time="0.000">
            <skipped/>
        </testcase>
        <testcase name="alpha &gt; fails" classname="ext:deno_node/testing.ts" time="0.002">
            <failure message="1 !== 2
">AssertionError</failure>
        </testcase>
        <testcase name="alpha &gt; nested" classname="ext:deno_node/testing.ts" time="0.002">
        </testcase>
        <testcase name="alpha &gt; nested &gt; is &lt;fine&gt;" classname="ext:deno_node/testing.ts">
        </testcase>
    </testsuite>
</testsuites>`;

const NODE = `<?xml version="1.0" encoding="utf-8"?>
<testsuites>
	<testsuite name="alpha" time="0.006352" disabled="0" errors="0" tests="3" failures="1" skipped="1">
		<testcase name="skips" time="0.000258" classname="alpha" file="/p/test/a_test.ts">
			<skipped type="skipped" message="no chromium here"/>
		</testcase>
		<testcase name="fails" time="0.001512" classname="alpha" file="/p/test/a_test.ts" failure="1 !== 2&#10;">
			<failure type="testCodeFailure" message="1 !== 2">[Error]</failure>
		</testcase>
		<testsuite name="nested" time="0.001251" disabled="0" errors="0" tests="1" failures="0">
			<testcase name="is &lt;fine>" time="0.000409" classname="alpha.nested" file="/p/test/a_test.ts"/>
		</testsuite>
	</testsuite>
	<testcase name="top" time="0.000248" classname="test" file="/p/test/a_test.ts"/>
	<!-- tests 4 -->
</testsuites>`;

const read = (xml: string) => parseJunit(xml).toSorted((a, b) => (a.path < b.path ? -1 : 1));

describe("parseJunit()", () => {
  for (const [runner, xml] of Object.entries({ BUN, DENO, NODE })) {
    it(`reads what ${runner.toLowerCase()} writes`, () => {
      assert.deepEqual(
        read(xml).map(({ path, outcome }) => [path, outcome]),
        [
          ["alpha > fails", "failed"],
          ["alpha > nested > is <fine>", "passed"],
          ["alpha > skips", "skipped"],
          ["top", "passed"],
        ],
      );
    });

    it(`keeps the message of a failure of ${runner.toLowerCase()}`, () => {
      assert.equal(read(xml)[0]?.detail.trim(), "1 !== 2");
    });
  }

  it("keeps the reason of a skip where there is one", () => {
    assert.deepEqual(
      [BUN, DENO, NODE].map((xml) => read(xml)[2]?.detail),
      ["", "", "no chromium here"],
    );
  });

  it("finds no tests in an empty report", () => assert.deepEqual(parseJunit("<testsuites/>"), []));
});

describe("fileSeconds()", () => {
  const times: [runner: string, xml: string, ms: number][] = [
    ["bun", BUN, 10],
    ["deno", DENO, 10],
    ["node", NODE, 2],
  ];
  for (const [runner, xml, ms] of times) {
    it(`adds up the tests of a file as ${runner} tells them, each once`, () => {
      const rounded = [...fileSeconds(xml)].map(([path, s]) => [path, Math.round(s * 1000)]);
      assert.deepEqual(rounded, [["test/a_test.ts", ms]]);
    });
  }
});
