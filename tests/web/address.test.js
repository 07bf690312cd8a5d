// What a reader chose, in the page's address.
import assert from "node:assert/strict";
import {test} from "node:test";

import {USUAL, chosenIn, queryOf, runbookOf} from "../../exporter/web/static/address.js";

test("what a reader chose survives a reload", () => {
  const choice = {fleet: "matillion/etl", search: "connection refused & more", range: 21_600, show: "unreachable", sort: "-tasks"};
  assert.equal(queryOf(choice), "?fleet=matillion/etl&search=connection+refused+%26+more&range=21600&show=unreachable&sort=-tasks");
  assert.deepEqual(chosenIn(queryOf(choice)), choice);
});

test("what is as usual needs no address", () => {
  assert.equal(queryOf({}), "?");
  assert.equal(queryOf({range: 900}), "?range=900");
  for (const query of ["", "?", "?range=1&sort=no+column", "?range=x&other=y"]) assert.deepEqual(chosenIn(query), USUAL, query);
});

test("a runbook gets the names for its commands", () => {
  assert.equal(runbookOf("MatillionAgentOOMKilled", {namespace: "m", fleet: "a b", pod: "p-1"}),
    "runbooks/MatillionAgentOOMKilled?namespace=m&fleet=a+b&pod=p-1");
});
