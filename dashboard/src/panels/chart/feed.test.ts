import { expect, it } from "vitest"
import type { BarSeries } from "../../api/types.ts"
import { decisionsTarget } from "./feed.svelte.ts"
import { SESSION } from "./fixtures.ts"

function minutes(freshness: BarSeries["freshness"], hours = SESSION.decision_hours): BarSeries {
  return { freshness, session: { ...SESSION, decision_hours: hours } } as BarSeries
}

it("the decisions of a day that is over are those of its replays, behind its decision hours", () => {
  const target = JSON.parse(decisionsTarget("SPY", minutes("historical", [10, 11, 12])) ?? "") as unknown
  const replayed = { from: "2026-03-09T10:05:00-04:00", to: "2026-03-09T12:05:00-04:00" }
  expect(target).toEqual({ ticker: "SPY", day: "2026-03-09", replayed })
})

it("the decisions of the running day are those of the record, so that no moment ahead is asked for", () => {
  for (const freshness of ["live", "delayed", "stale", "closed"] as const)
    expect(JSON.parse(decisionsTarget("SPY", minutes(freshness)) ?? "")).toMatchObject({ replayed: null })
})

it("a day without decisions asks for none", () => {
  expect(decisionsTarget("SPY", minutes("live", []))).toBeNull()
  expect(decisionsTarget("SPY", null)).toBeNull()
})
