// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { Replays } from "./replays.svelte.ts"

const DAY = "2026-03-09"
let asked: URL[] = []
let respond: () => Response = () => new Response("{}", { headers: { "Content-Type": "application/json" } })

beforeEach(() => {
  vi.useFakeTimers()
  asked = []
  vi.stubGlobal("fetch", (request: Request) => {
    asked.push(new URL(request.url))
    return Promise.resolve(respond())
  })
})

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  respond = () => new Response("{}", { headers: { "Content-Type": "application/json" } })
})

function moments(): string[] {
  return [...new Set(asked.map((url) => url.searchParams.get("at") ?? ""))]
}

describe("past moments", () => {
  it("are asked for once the slider rests, with New York's offset, for each ticker once", async () => {
    const replays = new Replays()
    for (let minute = 10; minute < 60; minute += 1) {
      replays.follow({ date: DAY, time: `14:${minute}` })
      await vi.advanceTimersByTimeAsync(50)
    }
    expect(asked).toEqual([])
    await vi.advanceTimersByTimeAsync(5000)
    expect(moments()).toEqual(["2026-03-09T14:59:00-04:00"])
    expect(asked.map(({ pathname }) => pathname)).toEqual(["/v2/replay/SPY", "/v2/replay/QQQ", "/v2/replay/IWM"])
  })

  it("that are known are not asked for again", async () => {
    const replays = new Replays()
    for (const time of ["14:00", "14:01", "14:00"]) {
      replays.follow({ date: DAY, time })
      await vi.advanceTimersByTimeAsync(5000)
    }
    expect(asked.length).toBe(6)
  })

  it("wait for as long as the server says", async () => {
    respond = () =>
      new Response(JSON.stringify({ detail: "Too many.", error_code: "RATE_LIMITED" }), {
        status: 429,
        headers: { "Retry-After": "30", "Content-Type": "application/problem+json" },
      })
    const replays = new Replays()
    replays.follow({ date: DAY, time: "14:00" })
    await vi.advanceTimersByTimeAsync(1000)
    replays.follow({ date: DAY, time: "14:30" })
    await vi.advanceTimersByTimeAsync(29_000)
    expect(asked.length).toBe(1)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(moments().at(-1)).toBe("2026-03-09T14:30:00-04:00")
    expect(asked.length).toBe(2)
  })

  it("are no longer asked for when the page shows now", async () => {
    const replays = new Replays()
    replays.follow({ date: DAY, time: "14:00" })
    replays.follow(null)
    await vi.advanceTimersByTimeAsync(5000)
    expect(asked).toEqual([])
  })
})
