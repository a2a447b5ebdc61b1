// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import type { BarSeries } from "../../api/types.ts"
import { DayDecisions } from "../../live/day-decisions.ts"
import { ChartFeed, decisionsTarget, finestOf, neededSpans } from "./feed.svelte.ts"
import { minuteBars, SESSION } from "./fixtures.ts"

function minutes(freshness: BarSeries["freshness"], hours = SESSION.decision_hours): BarSeries {
  return { freshness, session: { ...SESSION, decision_hours: hours } } as BarSeries
}

let asked: URL[] = []

beforeEach(() => {
  vi.useFakeTimers()
  asked = []
  vi.stubGlobal("fetch", (request: Request) => {
    asked.push(new URL(request.url))
    return Promise.resolve(new Response('{"signals":[]}', { headers: { "Content-Type": "application/json" } }))
  })
})

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

async function requestsOf(freshness: BarSeries["freshness"], hours = SESSION.decision_hours): Promise<string[]> {
  const feed = new ChartFeed(new DayDecisions())
  feed.decisions.ask(decisionsTarget("SPY", minutes(freshness, hours)) ?? "")
  await vi.advanceTimersByTimeAsync(1_000)
  feed.stop()
  return asked.map(({ pathname, searchParams }) => `${pathname} ${[...searchParams.values()].join(" ")}`)
}

it("the decisions of a day that is over are those of its replays, behind its decision hours", async () => {
  const moments = "2026-03-09T10:05:00-04:00 2026-03-09T12:05:00-04:00"
  expect(await requestsOf("historical", [10, 11, 12])).toEqual([`/v2/replay/SPY ${moments} 60`])
})

it("the decisions of the running day are those of the record, so that no moment ahead is asked for", async () => {
  for (const freshness of ["live", "delayed", "stale", "closed"] as const) await requestsOf(freshness)
  expect(new Set(asked.map(({ pathname }) => pathname))).toEqual(new Set(["/v2/signals/SPY"]))
  expect(asked.length).toBe(4)
})

it("a day without decisions asks for none", () => {
  expect(decisionsTarget("SPY", minutes("live", []))).toBeNull()
  expect(decisionsTarget("SPY", null)).toBeNull()
})

it("five-minute bars stand in place of one-minute ones where the day has none of these", () => {
  const of = (span: "1m" | "5m", count: number, ticker = "SPY"): BarSeries =>
    ({ span, ticker, first_day: SESSION.day, bars: minuteBars(count, span === "1m" ? 1 : 5) }) as unknown as BarSeries
  const [minutes, none, fives] = [of("1m", 390), of("1m", 0), of("5m", 78)]
  expect(finestOf(minutes, fives)).toBe(minutes)
  expect(finestOf(none, fives)).toBe(fives)
  expect(finestOf(null, fives)).toBeNull()
  for (const other of [null, of("5m", 0), of("5m", 78, "QQQ")]) expect(finestOf(none, other)).toBe(none)
})

it("no more bars are asked for than a chart needs", () => {
  expect((["1m", "5m", "15m", "1d"] as const).map((span) => neededSpans(span, true))).toEqual([
    ["1m"],
    ["1m", "5m"],
    ["1m", "15m"],
    ["1m"],
  ])
  expect(neededSpans("1m", false)).toEqual(["1m", "5m"])
  expect(neededSpans("15m", false)).toEqual(["1m", "5m", "15m"])
})
