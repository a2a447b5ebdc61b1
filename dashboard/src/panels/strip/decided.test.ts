import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import type { Answer } from "../../api/client.ts"
import type { Decision } from "./day.ts"
import { Decided, type DayShown } from "./decided.svelte.ts"

const THURSDAY: DayShown = { day: "2025-03-06", isReplay: true }
const FRIDAY: DayShown = { day: "2025-03-07", isReplay: true }
const BROKEN = { status: 503, code: "X", detail: "It is broken.", retryAfterS: 5, requestId: null }
const DECISIONS = [{ hour: 10 }] as unknown as readonly Decision[]
const FOUND: Answer<readonly Decision[]> = { data: DECISIONS, failure: null }
let decided: Decided

function answering(answer: Answer<readonly Decision[]>): () => Promise<Answer<readonly Decision[]>> {
  return () => new Promise((resolve) => setTimeout(resolve, 500, answer))
}

beforeEach(async () => {
  vi.useFakeTimers()
  decided = new Decided()
  decided.load(THURSDAY, answering(FOUND))
  await vi.advanceTimersByTimeAsync(500)
})

afterEach(() => {
  vi.useRealTimers()
})

describe("the decisions of a day", () => {
  it.each([
    ["another day", FRIDAY],
    ["the same day without a replay", { ...THURSDAY, isReplay: false }],
  ])("are not those of %s, before, while and after that is asked for", async (_, other) => {
    expect([decided.of(THURSDAY), decided.of(other)]).toEqual([DECISIONS, null])
    decided.load(other, answering({ data: null, failure: BROKEN }))
    expect([decided.of(THURSDAY), decided.of(other)]).toEqual([null, null])
    await vi.advanceTimersByTimeAsync(500)
    expect([decided.of(THURSDAY), decided.of(other), decided.failure]).toEqual([null, null, BROKEN])
  })

  it("stay while the same day is asked for again, and a failure is known until there is an answer", async () => {
    decided.load(THURSDAY, answering({ data: null, failure: BROKEN }))
    expect([decided.of(THURSDAY), decided.failure]).toEqual([DECISIONS, null])
    await vi.advanceTimersByTimeAsync(500)
    expect([decided.of(THURSDAY), decided.failure]).toEqual([DECISIONS, BROKEN])
    decided.load(THURSDAY, answering(FOUND))
    expect([decided.of(THURSDAY), decided.failure]).toEqual([DECISIONS, BROKEN])
    await vi.advanceTimersByTimeAsync(500)
    expect([decided.of(THURSDAY), decided.failure]).toEqual([DECISIONS, null])
  })
})
