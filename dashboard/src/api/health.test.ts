import { expect, it } from "vitest"
import { policyOf } from "./health.ts"

it.each([
  ['"other";q=240;w=60', { requests: 240, seconds: 60 }],
  ['"other"; q=2400; w=60', { requests: 2400, seconds: 60 }],
  [null, { requests: null, seconds: null }],
  ["nonsense", { requests: null, seconds: null }],
])("the limit of %s", (header, limit) => {
  expect(policyOf(header)).toEqual(limit)
})
